/** Migrations of locked tables, on a real server. */
import { migrate, type SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import type { SqlMigration } from '../support/inside/core.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const first: SqlMigration = { version: 1, statements: ['CREATE TABLE {schema}.held (n int)'] }
const second: SqlMigration = { version: 2, statements: ['ALTER TABLE {schema}.held ADD COLUMN more int'], worksWith: 1 }

describeWith(['postgres'], 'a migration of a locked table', () => {
  const schema = `migrate_it_${process.pid}`
  const gid = `concordat:test:${process.pid}`
  let pool: pg.Pool
  let sql: SqlClient

  beforeAll(() => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 6, application_name: 'the shop' })
    sql = pgClient(pool)
  })
  beforeEach(async () => {
    await migrate(sql, schema, 'held', [first])
    await sql.prepare?.(gid, (tx) => tx.query(`INSERT INTO ${schema}.held VALUES (1)`))
  })
  afterEach(async () => {
    await endIt()
    await sql.query(`DROP SCHEMA ${schema} CASCADE`)
  })
  afterAll(() => pool.end())

  const endIt = (): Promise<unknown> => sql.query(`ROLLBACK PREPARED '${gid}'`).catch(() => {})
  const begin = (waitMs: number): Promise<void> =>
    migrate(sql, schema, 'held', [first, second], { lockTimeoutMs: 100, waitMs })

  test('on a server that takes no writes names the part and the remedy, and succeeds where nothing is missing', async () => {
    const options = '-c default_transaction_read_only=on'
    const readOnly = new pg.Pool({ connectionString: serverUrl('postgres'), max: 1, options })
    onTestFinished(() => readOnly.end())
    await migrate(pgClient(readOnly), schema, 'held', [first])
    await expect(migrate(pgClient(readOnly), schema, 'held', [first, second])).rejects.toMatchObject({
      code: 'core.read_only',
      retryable: true,
      schema,
      part: 'held',
      message: expect.stringContaining('connect to the primary'),
      cause: { code: '25006' },
    })
  })

  test('gives up after its time, changes nothing, and names the session that holds the table', async () => {
    await expect(begin(300)).rejects.toMatchObject({
      code: 'core.migration_blocked',
      retryable: true,
      schema,
      part: 'held',
      message: expect.stringContaining(`prepared transaction ${gid}`),
    })
    const { rows } = await sql.query(`SELECT * FROM ${schema}.held LIMIT 0`)
    expect(rows).toEqual([])
    await endIt()
    await begin(300)
    await expect(sql.query(`SELECT more FROM ${schema}.held`)).resolves.toMatchObject({ rows: [] })
  })

  test('names a session that is idle in its transaction, and none of its statements', async () => {
    await endIt()
    const held = Promise.withResolvers<void>()
    const open = Promise.withResolvers<void>()
    const session = sql.transaction(async (tx) => {
      await tx.query(`INSERT INTO ${schema}.held VALUES (4711)`)
      open.resolve()
      await held.promise
    })
    await open.promise
    const error = await begin(200).catch((failure: Error) => failure)
    held.resolve()
    await session
    expect((error as Error).message).toMatch(/session \d+ of "the shop", idle in transaction/)
    expect((error as Error).message).not.toContain('4711')
  })

  test('gives up after its time beside another migrator that is frozen, and names its session', async () => {
    await endIt()
    const held = Promise.withResolvers<void>()
    const open = Promise.withResolvers<void>()
    const frozen = sql.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`concordat:${schema}`])
      open.resolve()
      await held.promise
    })
    await open.promise
    const message = expect.stringMatching(/session \d+ of "the shop", idle in transaction/)
    await expect(begin(200)).rejects.toMatchObject({ code: 'core.migration_blocked', message })
    held.resolve()
    await frozen
    await begin(200)
  })

  test('lets the server end its transaction when its process is frozen in it', async () => {
    await endIt()
    const limit: SqlMigration = {
      version: 2,
      statements: [
        `CREATE TABLE {schema}.limits AS SELECT current_setting('idle_in_transaction_session_timeout')::interval AS idle`,
      ],
    }
    await migrate(sql, schema, 'held', [first, limit])
    const { rows } = await sql.query(`SELECT extract(epoch FROM idle)::int AS idle FROM ${schema}.limits`)
    expect(rows).toEqual([{ idle: 20 }])
  })

  test('succeeds when the table is unlocked in time, and delays other sessions only briefly', async () => {
    const migrating = begin(20_000)
    const waiting = async (): Promise<boolean> =>
      (await sql.query(`SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'`)).rows.length > 0
    await until('it waits', waiting)
    const asked = performance.now()
    await sql.query(`INSERT INTO ${schema}.held VALUES (2)`)
    await expectWithin(performance.now() - asked, 15_000)
    await endIt()
    await migrating
    expect((await sql.query(`SELECT n, more FROM ${schema}.held`)).rows).toEqual([{ n: 2, more: null }])
  })
})
