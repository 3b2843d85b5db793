/** Work that throws what cannot be read: its transaction is rolled back, and its connection is clean for the next one. */
import type { SqlClient } from 'concordat/core'
import { kyselyClient } from 'concordat/core/orms'
import { pgClient } from 'concordat/core/pg'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { toError } from '../../core/errors.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { HOSTILE_ERRORS } from '../support/hostile-errors.ts'
import { describeWith } from '../support/servers/index.ts'

const SAYS = 'an error that cannot be read'

describeWith(['postgres'], 'a transaction of PostgreSQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await database.sql.query('CREATE TABLE t (n int)')
  })
  beforeEach(() => database.sql.query('TRUNCATE t'))
  afterAll(() => database.drop())

  const poolOf = (): pg.Pool => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1, application_name: 'hostile' })
    onTestFinished(() => pool.end())
    return pool
  }
  const CLIENTS: ReadonlyArray<readonly [string, () => SqlClient]> = [
    ['pgClient', () => pgClient(poolOf())],
    [
      'kyselyClient',
      () =>
        kyselyClient(
          new Kysely({ dialect: new PostgresDialect({ pool: poolOf() }) }) as unknown as Parameters<
            typeof kyselyClient
          >[0],
        ),
    ],
  ]

  const CASES = CLIENTS.flatMap(([client, open]) =>
    HOSTILE_ERRORS.map(([what, make, isRead]) => [client, what, open, make, isRead] as const),
  )
  it.each(CASES)('of %s is rolled back after %s', async (_client, _what, open, make, isRead) => {
    const sql = open()
    const error = make()
    const thrown = await sql
      .transaction(async (tx) => {
        await tx.query('INSERT INTO t VALUES (1)')
        throw error
      })
      .then(
        () => 'committed',
        (each: unknown) => (isRead ? each : toError(each).message),
      )
    expect(thrown).toBe(isRead ? error : SAYS)
    const { rows } = await database.sql.query(
      `SELECT state FROM pg_stat_activity WHERE application_name = 'hostile' AND datname = current_database() AND state <> 'idle'`,
    )
    expect(rows).toEqual([])
    await sql.transaction(async (tx) => void (await tx.query('INSERT INTO t VALUES (2)')))
    expect((await database.sql.query('SELECT n FROM t')).rows).toEqual([{ n: 2 }])
  })
})
