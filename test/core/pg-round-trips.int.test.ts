// oxlint-disable no-restricted-imports -- who ends a transaction with a message does not write its statement
import { defineChannel, encodeMessage } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { andCommit } from '../../core/commit-with-last-statement.ts'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

const INSERT = 'INSERT INTO t (n) VALUES ($1::int)'
const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }) })

describeWith(['postgres'], 'the round trips of a transaction on pg', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createPlainDatabase()
    await database.sql.query('CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED CHECK (n > 0))')
  })
  beforeEach(() => database.sql.query('TRUNCATE t'))
  afterAll(() => database.drop())

  const written = async (): Promise<readonly number[]> =>
    (await database.sql.query<{ n: number }>('SELECT n FROM t ORDER BY n')).rows.map(({ n }) => n)

  /** A client with one connection that counts its answers. */
  const counted = (options: pg.PoolConfig = {}, preparedStatements = false) => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1, ...options })
    onTestFinished(() => pool.end())
    let answers = 0
    pool.on('connect', (client) => {
      const { connection } = client as unknown as { connection: NodeJS.EventEmitter }
      connection.on('readyForQuery', () => answers++)
    })
    const sql = pgClient(pool, { preparedStatements })
    return {
      sql,
      tripsOf: async (work: (tx: SqlTransaction) => Promise<unknown>): Promise<number> => {
        await sql.query('SELECT 1')
        const before = answers
        await sql.transaction(work)
        return answers - before
      },
    }
  }

  it('are one for each statement, and the commit', async () => {
    const { tripsOf } = counted()
    const trips = await tripsOf(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.query(INSERT, [2])
    })
    expect(trips).toBe(3)
    expect(await written()).toEqual([1, 2])
  })

  it('are one for each statement when the last one is marked', async () => {
    const { tripsOf } = counted()
    const last = tripsOf(async (tx) => {
      await tx.query(INSERT, [1])
      expect((await tx.last?.(`${INSERT} RETURNING n`, [2]))?.rows).toEqual([{ n: 2 }])
    })
    expect(await last).toBe(2)
    expect(await tripsOf(async (tx) => tx.last?.(INSERT, [3]))).toBe(1)
    expect(await written()).toEqual([1, 2, 3])
  })

  it('are zero without a statement', async () => {
    const { tripsOf } = counted()
    expect(await tripsOf(async () => undefined)).toBe(0)
  })

  it('are one more when the first statement has no parameters, and in pipeline mode', async () => {
    const work = async (tx: SqlTransaction): Promise<void> => {
      await tx.query('INSERT INTO t (n) VALUES (1)')
      await tx.query(INSERT, [2])
    }
    expect(await counted().tripsOf(work)).toBe(4)
    await database.sql.query('TRUNCATE t')
    const { tripsOf } = counted({ pipeline: true } as pg.PoolConfig)
    expect(await tripsOf(async (tx) => void (await Promise.all([tx.query(INSERT, [1]), tx.query(INSERT, [2])])))).toBe(
      4,
    )
    expect(await written()).toEqual([1, 2])
  })

  it('keep the order of statements that do not wait for each other', async () => {
    const { sql } = counted()
    const rows = await sql.transaction(async (tx) => {
      const all = [1, 2, 3].map((n) => tx.query('SELECT $1::int AS n, count(*)::int AS before FROM t', [n]))
      return (await Promise.all(all)).flatMap((result) => result.rows)
    })
    expect(rows).toEqual([1, 2, 3].map((n) => ({ n, before: 0 })))
  })

  it.for([false, true])('give each statement its own rows, prepared (%s) or not', async (prepared) => {
    const { sql } = counted({}, prepared)
    for (const n of [1, 2, 3]) {
      const found = await sql.transaction(async (tx) => {
        const [first] = (await tx.query<{ a: number }>('SELECT $1::int AS a', [n])).rows
        const last = await tx.last?.<{ b: string; n: number }>(`${INSERT} RETURNING n, 'x' AS b`, [n])
        return { first, last: last?.rows, count: last?.rowCount }
      })
      expect(found).toEqual({ first: { a: n }, last: [{ n, b: 'x' }], count: 1 })
    }
    expect(await written()).toEqual([1, 2, 3])
  })

  it.for([false, true])(
    'undo all when the first or the last statement fails, prepared (%s) or not',
    async (prepared) => {
      const { sql } = counted({}, prepared)
      const bad = { code: '23514' }
      for (const _ of [1, 2, 3]) {
        await expect(sql.transaction((tx) => tx.query(INSERT, [0]))).rejects.toMatchObject(bad)
        await expect(sql.transaction((tx) => tx.query('SELECT nowhere, $1::int', [0]))).rejects.toMatchObject({
          code: '42703',
        })
        const last = sql.transaction(async (tx) => {
          await tx.query(INSERT, [1])
          await tx.last?.(INSERT, [0])
        })
        await expect(last).rejects.toMatchObject(bad)
      }
      expect(await written()).toEqual([])
      await sql.transaction(async (tx) => void (await tx.last?.(INSERT, [7])))
      expect(await written()).toEqual([7])
    },
  )

  it('reject with the answer to the commit', async () => {
    const { sql } = counted()
    const twice = sql.transaction(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.last?.(INSERT, [1])
    })
    await expect(twice).rejects.toMatchObject({ code: '23505' })
    expect(await written()).toEqual([])
  })

  it('commit nothing when a parameter cannot be sent, as the first or the last', async () => {
    const { sql } = counted()
    const unsendable = {
      toPostgres() {
        throw new TypeError('not today')
      },
    }
    await expect(sql.transaction((tx) => tx.query(INSERT, [unsendable]))).rejects.toThrow('not today')
    const last = sql.transaction(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.last?.(INSERT, [unsendable])
    })
    await expect(last).rejects.toThrow('not today')
    const caught = sql.transaction(async (tx) => {
      await tx.query(INSERT, [unsendable]).catch(() => undefined)
      await tx.query(INSERT, [2])
    })
    await caught
    expect(await written()).toEqual([2])
  })

  it('end with the last statement: later ones are not run', async () => {
    const { sql } = counted()
    const late = sql.transaction(async (tx) => {
      await tx.last?.(INSERT, [1])
      await tx.query(INSERT, [2])
    })
    await expect(late).rejects.toMatchObject({ code: 'core.sql_transaction_ended' })
    expect(await written()).toEqual([1])
  })

  it('call the work only when the transaction is open, on request', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const client = await pool.connect()
    client.on('error', () => undefined)
    onTestFinished(() => pool.end())
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    await database.sql.query('SELECT pg_terminate_backend($1::int)', [rows[0]?.pid])
    // A pool that returns a connection that has just ended.
    const handingOut = { query: pool.query.bind(pool), on: pool.on.bind(pool), connect: async () => client }
    let isCalled = false
    const work = async (): Promise<void> => void (isCalled = true)
    await expect(pgClient(handingOut as unknown as pg.Pool).transaction(work, { opened: true })).rejects.toThrow()
    expect(isCalled).toBe(false)
  })

  it('write a message that ends a transaction, or nothing of it', async () => {
    const { sql } = counted()
    const outbox = createOutbox({ sql, service: 'test', schema: 'boxed', partitions: 2 })
    await outbox.migrate()
    const message = await encodeMessage(numbers, { n: 1 }, 'test')
    const add = (box: Pick<typeof outbox, 'addEncoded'>, messages: readonly (typeof message)[]) =>
      sql.transaction(async (tx) => {
        await tx.query(INSERT, [1])
        await box.addEncoded(andCommit(tx), messages)
      })
    const another = createOutbox({ sql, service: 'test', schema: 'boxed', partitions: 3 })
    for (const messages of [[message], [message, message]])
      await expect(add(another, messages)).rejects.toMatchObject({
        code: 'outbox.partitions',
        configured: 3,
        stored: 2,
      })
    const foreign = createOutbox({ sql, service: 'other', schema: 'boxed', partitions: 2 })
    await expect(add(foreign, [message])).rejects.toMatchObject({ code: 'outbox.owner' })
    await sql.query('ALTER TABLE boxed.outbox_meta RENAME TO meta_away')
    await sql.query('CREATE TABLE boxed.outbox_meta (LIKE boxed.meta_away)')
    await expect(add(outbox, [message])).rejects.toMatchObject({ code: 'outbox.partitions', stored: undefined })
    await sql.query('DROP TABLE boxed.outbox_meta')
    await sql.query('ALTER TABLE boxed.meta_away RENAME TO outbox_meta')
    expect(await written()).toEqual([])
    await add(outbox, [message])
    expect(await written()).toEqual([1])
    expect(await sql.query('SELECT id FROM boxed.outbox')).toMatchObject({ rows: [{ id: message.id }] })
  })
})
