/** A database in which dozens of services have a schema each. */
import { createOperator } from '@concordat/cli'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresLocks } from 'concordat/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(async () => {
  await database.waitReady
  await sql.query(`DO $$ BEGIN FOR n IN 10..61 LOOP
    EXECUTE format('CREATE SCHEMA s%s', n);
    EXECUTE format('CREATE TABLE s%s.concordat_migration ()', n);
    EXECUTE format('CREATE TABLE s%s.lock_key ()', n);
    EXECUTE format('CREATE TABLE s%s.saga (status text, ended_at timestamptz)', n);
  END LOOP; END $$`)
  await postgresLocks({ sql, schema: 'shop', owner: 'shop-1' }).migrate()
}, 180_000)
afterAll(() => database.close())

test('the locks of the last schema are found', async () => {
  expect(await createOperator({ sql, schema: 'shop' }).locks.list()).toEqual([])
  expect(await createOperator({ sql, schema: 'shop' }).leaders.list()).toEqual([])
})

test('an error names twenty of the schemas, and how many more there are', async () => {
  const { locks } = createOperator({ sql, schema: 'typo' })
  await expect(locks.list()).rejects.toThrow(
    /the schema "typo" has no tables of them, "s10", .*"s28", "s29" and 33 more have/,
  )
})

test('the doctor shows a schema as unknown whose tables it cannot read, and looks into the others', async () => {
  await sql.query('ALTER TABLE s11.saga RENAME COLUMN status TO state')
  const { lines } = await createOperator({ sql, schema: 'shop' }).doctor()
  await sql.query('ALTER TABLE s11.saga RENAME COLUMN state TO status')
  expect(lines.filter(({ check, status }) => check === 'schemas' && status !== 'ok')).toMatchObject([
    {
      status: 'unknown',
      text: '"s11" has tables that this release cannot read',
      remedy: expect.stringMatching(/s11$/),
    },
    { status: 'unknown', text: '2 schemas of other services were not looked at' },
  ])
})

test('the doctor looks into fifty others, and says how many are left', async () => {
  await sql.query(`INSERT INTO s40.saga VALUES ('stuck', NULL)`)
  const { lines } = await createOperator({ sql, schema: 'shop' }).doctor()
  expect(lines.filter(({ check, status }) => check === 'schemas' && status !== 'ok')).toMatchObject([
    { status: 'warn', text: '"s40" has stuck sagas', remedy: 'npx concordat doctor --schema s40' },
    { status: 'unknown', text: '2 schemas of other services were not looked at' },
  ])
})
