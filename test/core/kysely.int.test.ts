import { kyselyClient } from 'concordat/core/orms'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sqlConformance } from '../conformance/sql.ts'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

describeWith(['postgres'], 'Kysely on pg', () => {
  let database: TestDatabase
  let db: Kysely<unknown>
  beforeAll(async () => {
    database = await createPlainDatabase()
    const pool = new pg.Pool({ connectionString: database.url })
    // A connection that dies must not end the process; `pgClient` does this for you, Kysely does not.
    pool.on('error', () => {})
    pool.on('connect', (connection) => connection.on('error', () => {}))
    db = new Kysely({ dialect: new PostgresDialect({ pool }) })
  })
  afterAll(async () => {
    await db.destroy()
    await database.drop()
  })

  sqlConformance(() => kyselyClient(db))

  test('a connection that is killed in a transaction does not hide the error of the work', async () => {
    const reason = new Error('mine')
    const failed = kyselyClient(db).transaction(async (tx) => {
      const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await database.sql.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid])
      await expect
        .poll(() =>
          tx.query('SELECT 1').then(
            () => 'alive',
            () => 'lost',
          ),
        )
        .toBe('lost')
      throw reason
    })
    await expect(failed).rejects.toBe(reason)
  })
})
