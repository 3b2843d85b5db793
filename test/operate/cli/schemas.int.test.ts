/** The command line on a database whose services have schemas of their own, and where operators have no audit yet. */
import { createOperator } from '@concordat/cli'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { ranHere } from '../support/cli.ts'

const WHY = ['--reason', 'a test', '--yes']

describeWith(['postgres'], 'npx concordat, where the tables are in another schema', () => {
  let database: TestDatabase
  const cli = (...args: string[]) => ranHere([...args, '--postgres', database.url], {})

  beforeAll(async () => {
    database = await createDatabase()
    const note = { by: 'test', reason: 'setup' }
    const parts = ['outbox', 'saga', 'saga-participant', 'lock-store', 'cluster', 'transport']
    await createOperator({ sql: database.sql, schema: 'shop' }).migrate({ ...note, parts })
    await createOperator({ sql: database.sql, schema: 'mail' }).migrate({ ...note, parts: ['outbox', 'transport'] })
  }, 60_000)
  afterAll(() => database.drop())

  test.for([
    ['saga list', '--schema shop, or set CONCORDAT_SCHEMA=shop'],
    ['outbox list', '--schema mail or --schema shop, or set CONCORDAT_SCHEMA=mail'],
    ['undo list', '--schema shop, or set CONCORDAT_SCHEMA=shop'],
  ] as const)('%s names the schemas that have them before the command that makes them', async ([line, schemas]) => {
    const { code, stderr } = await cli(...line.split(' '))
    expect(code).toBe(1)
    expect(stderr).toContain(`tables are missing in schema "concordat"; elsewhere they exist: give ${schemas}`)
    expect(stderr.indexOf('CONCORDAT_SCHEMA')).toBeLessThan(stderr.indexOf('npx concordat migrate apply'))
  })

  test.for([
    ['locks list', '"shop" has'],
    ['leader list', '"shop" has'],
    ['members shop', '"shop" has'],
    ['dlq list orders stock', '"mail", "shop" have'],
  ] as const)('%s names the schemas that have them', async ([line, schemas]) => {
    const { stderr } = await cli(...line.split(' '))
    expect(stderr).toContain(schemas)
    expect(stderr).toContain('--schema NAME where')
  })

  test('migrate apply says in which schema it makes the tables, and where there are some already', async () => {
    const { code, stdout } = await cli('migrate', 'apply', '--part', 'outbox', '--schema', 'shpo', ...WHY)
    expect(code).toBe(0)
    expect(stdout).toContain('Schema "shpo", which had no tables of Concordat. They are in "mail", "shop"')
    await database.sql.query('DROP SCHEMA shpo CASCADE')
  })

  test('doctor names them before the command that makes tables', async () => {
    const { code, stdout } = await cli('doctor')
    expect(code).toBe(2)
    expect(stdout).toMatch(
      /fail +tables +no tables in schema "concordat"\n +-> npx concordat doctor --schema mail, or npx concordat doctor --schema shop \(or CONCORDAT_SCHEMA\): .* Else npx concordat migrate apply/,
    )
  })

  test('tables of an older release are upgraded, wherever others are', async () => {
    const { sql } = database
    await sql.query('ALTER TABLE shop.saga RENAME COLUMN created_at TO made_at')
    const { stderr } = await cli('saga', 'list', '--schema', 'shop')
    await sql.query('ALTER TABLE shop.saga RENAME COLUMN made_at TO created_at')
    expect(stderr).toContain(
      'tables of "saga" in schema "shop" are of an older release. As their owner: npx concordat migrate apply --part saga --schema shop',
    )
  })

  test.for([
    'dlq redrive orders stock --dry-run',
    'dlq redrive orders stock',
    'dlq drop orders stock --dry-run',
    'locks release sku:apple',
    'leader step-down settlement',
    'bus send refresh --to **',
  ])('%s is refused before its question where operators have no audit', async (line) => {
    const { code, stderr } = await ranHere(
      [...line.split(' '), '--schema', 'shop', '--postgres', database.url, ...WHY.slice(0, 2)],
      {},
    )
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('npx concordat migrate apply --part operator --schema shop'),
    })
  })
})
