import type { SqlExecutor } from 'concordat/core'
import { pgClient, pgTransaction } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { sqlConformance } from '../conformance/sql.ts'
import { until } from '../outbox/support/messages.ts'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

describeWith(['postgres'], 'pg', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createPlainDatabase()
  })
  afterAll(() => database.drop())

  sqlConformance(() => database.sql)

  test('does not keep a connection to a read-only server: the next transaction may find a writable one', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    onTestFinished(() => pool.end())
    const sql = pgClient(pool)
    const write = () =>
      sql.transaction(async (tx) => void (await tx.query('CREATE TABLE IF NOT EXISTS written (n int)')))
    // Answer of a standby before it is promoted; the session stands for the server.
    await sql.query('SET default_transaction_read_only = on')
    await expect(write()).rejects.toMatchObject({ code: '25006' })
    await write()
    const { rows } = await sql.query("SELECT to_regclass('written') IS NOT NULL AS there")
    expect(rows).toEqual([{ there: true }])
  })

  describe('with prepared statements', () => {
    const pooled = (max = 1) => {
      const pool = new pg.Pool({ connectionString: database.url, max })
      onTestFinished(() => pool.end())
      return pgClient(pool, { preparedStatements: true })
    }
    sqlConformance(() => pgClient(database.pool, { preparedStatements: true }))

    test('keeps repeated statements, and no others', async () => {
      const sql = pooled()
      for (const n of [1, 2, 3]) await sql.query('SELECT $1::int AS n', [n])
      for (const n of [1, 2, 3]) await sql.query('SELECT * FROM generate_series(1, $1::int)', [n])
      await sql.query('SELECT $1::text AS once', ['x'])
      const { rows } = await sql.query<{ statement: string }>('SELECT statement FROM pg_prepared_statements')
      expect(rows).toEqual([{ statement: 'SELECT $1::int AS n' }])
    })

    test('continues after a column got another type, by itself and in transactions', async () => {
      const sql = pooled()
      await sql.query('DROP TABLE IF EXISTS changed; CREATE TABLE changed (n int); INSERT INTO changed VALUES (1)')
      const text = 'SELECT n FROM changed WHERE $1::int = 1'
      const inTransaction = () => sql.transaction(async (tx) => (await tx.query(text, [1])).rows)
      for (const _ of [1, 2, 3]) expect(await inTransaction()).toEqual([{ n: 1 }])
      await sql.query('ALTER TABLE changed ALTER n TYPE text')
      await inTransaction().catch(() => {})
      expect(await inTransaction()).toEqual([{ n: '1' }])
    })

    test('does not keep a connection whose statement is gone, also when the work hides the error', async () => {
      const sql = pooled()
      const text = 'SELECT $1::int AS n'
      for (const n of [1, 2]) await sql.query(text, [n])
      await sql.query('DEALLOCATE ALL')
      const hidden = sql.transaction(async (tx) => {
        await tx.query(text, [3]).catch(() => {
          throw new Error('mine')
        })
      })
      await expect(hidden).rejects.toThrow('mine')
      expect(await sql.transaction(async (tx) => (await tx.query(text, [4])).rows)).toEqual([{ n: 4 }])
    })

    test('reports the cause when its statement is gone', async () => {
      const sql = pooled()
      for (const n of [1, 2]) await sql.query('SELECT $1::int AS n', [n])
      await sql.query('DEALLOCATE ALL')
      await expect(sql.query('SELECT $1::int AS n', [3])).rejects.toMatchObject({ code: 'core.sql_statement_lost' })
      expect((await sql.query('SELECT $1::int AS n', [4])).rows).toEqual([{ n: 4 }])
    })
  })

  async function terminate(pid: number): Promise<void> {
    await database.sql.query('SELECT pg_terminate_backend($1)', [pid])
  }

  async function pidOf(executor: SqlExecutor): Promise<number> {
    const { rows } = await executor.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    return rows[0]?.pid as number
  }

  describe.each(['repeatable read', 'serializable'])('a database whose transactions are %s by default', (level) => {
    test('runs a statement again when another one was faster', async () => {
      const options = `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`
      const pool = new pg.Pool({ connectionString: database.url, max: 8, options })
      const sql = pgClient(pool)
      const shown = await sql.query<{ level: string }>(`SELECT current_setting('transaction_isolation') AS level`)
      expect(shown.rows).toEqual([{ level }])
      await sql.query('DROP TABLE IF EXISTS counted; CREATE TABLE counted (n int); INSERT INTO counted VALUES (0)')
      await Promise.all(Array.from({ length: 40 }, () => sql.query('UPDATE counted SET n = n + 1')))
      expect((await sql.query('SELECT n FROM counted')).rows).toEqual([{ n: 40 }])
      await pool.end()
    })
  })

  test('a pool without a free connection is named, with what to do', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2, connectionTimeoutMillis: 100 })
    const sql = pgClient(pool)
    const held = await pool.connect()
    await sql.transaction(async (tx) => {
      await tx.query('SELECT 1')
      const full = /^timeout exceeded when trying to connect: no connection .* raise the max/
      await expect(sql.query('SELECT 1')).rejects.toThrow(full)
      await expect(sql.transaction((other) => other.query('SELECT 1'))).rejects.toThrow(full)
    })
    held.release()
    await pool.end()
  })

  test('a statement inside a transaction on the only connection of the pool is refused at once', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const [sql, same] = [pgClient(pool), pgClient(pool)]
    const own = { code: 'core.sql_own_transaction', retryable: false }
    await sql.transaction(async (tx) => {
      await tx.query('SELECT 1')
      for (const client of [sql, same]) {
        await expect(client.query('SELECT 1')).rejects.toMatchObject(own)
        await expect(client.transaction((other) => other.query('SELECT 1'))).rejects.toMatchObject(own)
      }
      await tx.query('SELECT 2')
    })
    expect((await sql.query('SELECT 3 AS n')).rows).toEqual([{ n: 3 }])
    await pool.end()
  })

  describe('a connection that is killed', () => {
    test('in a transaction rejects it, and the pool continues', async () => {
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

    test('while idle is logged and does not end the process', async () => {
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

  test('a pool is no transaction', () => {
    // @ts-expect-error -- a pool does not compile either
    expect(() => pgTransaction(database.pool)).toThrow(
      /pgTransaction: expected one connection with an open transaction/,
    )
  })

  describe('a connection without a transaction', () => {
    const without = {
      'whose driver tells': (client: pg.PoolClient) => client,
      'whose driver cannot tell': (client: pg.PoolClient) => ({
        query: (text: string, values?: unknown[]) => client.query(text, values),
      }),
    }
    test.each(Object.entries(without))('%s is refused, and nothing is run', async (_, as) => {
      const client = await database.pool.connect()
      await client.query('CREATE TEMP TABLE alone (n int)')
      await expect(pgTransaction(as(client)).query('INSERT INTO alone VALUES (1)')).rejects.toMatchObject({
        code: 'core.sql_transaction_missing',
        message: expect.stringContaining("client.query('BEGIN')"),
      })
      expect((await client.query('SELECT * FROM alone')).rowCount).toBe(0)
      await client.query('DROP TABLE alone')
      client.release()
    })

    test('is accepted with its BEGIN under way, and refused after its COMMIT', async () => {
      const client = await database.pool.connect()
      await client.query('CREATE TEMP TABLE late (n int)')
      const begun = client.query('BEGIN')
      const tx = pgTransaction(client)
      await tx.query('INSERT INTO late VALUES (1)')
      await begun
      await client.query('COMMIT')
      await expect(tx.query('INSERT INTO late VALUES (2)')).rejects.toMatchObject({
        code: 'core.sql_transaction_missing',
      })
      expect((await client.query('SELECT n FROM late')).rows).toEqual([{ n: 1 }])
      await client.query('DROP TABLE late')
      client.release()
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
