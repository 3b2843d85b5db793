import type { SqlExecutor } from 'concordat/core'
import { pgClient, pgTransaction } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sqlConformance } from '../conformance/sql.ts'
import { until } from '../outbox/support/messages.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

describeWith(['postgres'], 'pg', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  sqlConformance(() => database.sql)

  async function terminate(pid: number): Promise<void> {
    await database.sql.query('SELECT pg_terminate_backend($1)', [pid])
  }

  async function pidOf(executor: SqlExecutor): Promise<number> {
    const { rows } = await executor.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    return rows[0]?.pid as number
  }

  describe('a connection that is killed', () => {
    test('in a transaction rejects it, and the pool goes on', async () => {
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      const sql = pgClient(pool)
      const failed = sql.transaction(async (tx) => {
        await terminate(await pidOf(tx))
        await tx.query('SELECT 1')
      })
      await expect(failed).rejects.toThrow()
      expect((await sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      await pool.end()
    })

    test('in a transaction does not hide the error of the work', async () => {
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      const sql = pgClient(pool)
      const reason = new Error('mine')
      const failed = sql.transaction(async (tx) => {
        await terminate(await pidOf(tx))
        await until(async () => (await tx.query('SELECT 1').catch(() => undefined)) === undefined, 'connection lost')
        throw reason
      })
      await expect(failed).rejects.toBe(reason)
      expect((await sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      await pool.end()
    })

    test('while idle is told to the logger and does not end the process', async () => {
      const pool = new pg.Pool({ connectionString: database.url, max: 1 })
      const warned: string[] = []
      const ignore = (): void => {}
      const logger = {
        debug: ignore,
        info: ignore,
        warn: (_: unknown, text: string) => void warned.push(text),
        error: ignore,
      }
      const sql = pgClient(pool, { logger })
      await terminate(await pidOf(sql))
      await until(() => warned.length > 0, 'warned')
      expect(warned).toEqual(['idle PostgreSQL connection lost'])
      expect((await sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      await pool.end()
    })
  })

  test('a transaction of the caller is left to the caller', async () => {
    const client = await database.pool.connect()
    await client.query('CREATE TEMP TABLE mine (n int)')
    await client.query('BEGIN')
    const tx = pgTransaction(client)
    await tx.query('INSERT INTO mine VALUES ($1)', [1])
    await client.query('ROLLBACK')
    expect((await client.query('SELECT * FROM mine')).rowCount).toBe(0)
    expect(tx.afterCommit).toBeUndefined()
    client.release()
  })
})
