// oxlint-disable no-restricted-imports -- work that shares a transaction is called by inboxes
import type { SqlTransaction } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import type { SqlOutcome, SqlStatement } from '../support/inside/core.ts'
import { describeWith } from '../support/servers/index.ts'
import { sharingOn, type Work } from '../support/sharing.ts'

const INSERT = 'INSERT INTO t (n) VALUES ($1::int)'
const insert = (n: unknown): SqlStatement => ({ text: INSERT, parameters: [n] })
const unsendable = {
  toPostgres() {
    throw new TypeError('not today')
  },
}

describeWith(['postgres'], 'several statements in one round trip of pg', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createPlainDatabase()
    await database.sql.query('CREATE TABLE t (n int UNIQUE CHECK (n > 0))')
  })
  beforeEach(() => database.sql.query('TRUNCATE t'))
  afterAll(() => database.drop())

  const written = async (): Promise<readonly number[]> =>
    (await database.sql.query<{ n: number }>('SELECT n FROM t ORDER BY n')).rows.map(({ n }) => n)

  /** A client with one connection that counts answers and parsed statements. */
  const counted = (options: pg.PoolConfig = {}, preparedStatements = false) => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1, ...options })
    onTestFinished(() => pool.end())
    const seen = { answers: 0, parsed: 0 }
    pool.on('connect', (client) => {
      const { connection } = client as unknown as { connection: NodeJS.EventEmitter }
      connection.on('readyForQuery', () => seen.answers++)
      connection.on('parseComplete', () => seen.parsed++)
    })
    return { sql: pgClient(pool, { preparedStatements }), pool, seen }
  }

  /** Outcome of each statement in a transaction that is already open. */
  const outcomesOf = async (
    { sql, seen }: ReturnType<typeof counted>,
    statements: readonly SqlStatement[],
  ): Promise<{ readonly outcomes: readonly SqlOutcome[]; readonly answers: number; readonly parsed: number }> => {
    let result: Awaited<ReturnType<typeof outcomesOf>> | undefined
    await sql
      .transaction(async (tx) => {
        await tx.query('SELECT 1')
        const before = { ...seen }
        const outcomes = (await tx.batch?.(statements)) ?? []
        result = { outcomes, answers: seen.answers - before.answers, parsed: seen.parsed - before.parsed }
      })
      .catch((error: unknown) => {
        if (result === undefined) throw error
      })
    return result as NonNullable<typeof result>
  }

  const codes = (outcomes: readonly SqlOutcome[]): readonly unknown[] =>
    outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? 'ok' : ((outcome.reason as { code?: unknown }).code ?? String(outcome.reason)),
    )

  it('are answered once, and repeated statements in a row are parsed once', async () => {
    const { outcomes, answers, parsed } = await outcomesOf(counted(), [1, 2, 3].map(insert))
    expect(codes(outcomes)).toEqual(['ok', 'ok', 'ok'])
    expect({ answers, parsed }).toEqual({ answers: 1, parsed: 1 })
    expect(await written()).toEqual([1, 2, 3])
  })

  it.for([false, true])('give each its own rows and counts, prepared (%s) or not', async (prepared) => {
    const bed = counted({}, prepared)
    for (const n of [1, 2, 3]) {
      const { outcomes } = await outcomesOf(bed, [
        { text: 'SELECT $1::int AS a, now() AS at', parameters: [n] },
        { text: `${INSERT} RETURNING n, NULL::text AS b`, parameters: [n] },
        { text: 'DELETE FROM t WHERE n = $1::int - 1', parameters: [n] },
        { text: 'SELECT $1::bytea AS bytes, $2::jsonb AS json', parameters: [Buffer.from([n]), { n }] },
        { text: 'SELECT $1::bytea AS bytes, $2::jsonb AS json', parameters: [null, '[]'] },
      ])
      const values = outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome))
      expect(values).toEqual([
        { rows: [{ a: n, at: expect.any(Date) }], rowCount: 1 },
        { rows: [{ n, b: null }], rowCount: 1 },
        { rows: [], rowCount: n > 1 ? 1 : 0 },
        { rows: [{ bytes: Buffer.from([n]), json: { n } }], rowCount: 1 },
        { rows: [{ bytes: null, json: [] }], rowCount: 1 },
      ])
    }
    expect(await written()).toEqual([3])
  })

  it('distinguish the failed statement from those that were not run, and commit nothing', async () => {
    const bed = counted()
    const { outcomes } = await outcomesOf(bed, [insert(1), insert(0), insert(2), insert(3)])
    expect(codes(outcomes)).toEqual(['ok', '23514', '25P02', '25P02'])
    expect(await written()).toEqual([])
    expect(codes((await outcomesOf(bed, [insert(4), insert(5)])).outcomes)).toEqual(['ok', 'ok'])
    expect(await written()).toEqual([4, 5])
  })

  it('may be of a kind that fails before it runs', async () => {
    const bed = counted()
    const nowhere = { text: 'SELECT nowhere, $1::int', parameters: [1] }
    expect(codes((await outcomesOf(bed, [nowhere, nowhere, insert(1)])).outcomes)).toEqual(['42703', '25P02', '25P02'])
    const copy = { text: 'COPY t FROM STDIN', parameters: [1] }
    const { outcomes } = await outcomesOf(bed, [insert(1), copy, insert(2)])
    expect(codes(outcomes)[0]).toBe('ok')
    expect(codes(outcomes).slice(1)).not.toContain('ok')
    expect(codes((await outcomesOf(bed, [insert(6)])).outcomes)).toEqual(['ok'])
    expect(await written()).toEqual([6])
  })

  it('leave out an unsendable statement, as if it had not been added', async () => {
    for (const place of [0, 1, 2]) {
      const statements = [1, 2].map((n) => insert(n + 10 * place))
      statements.splice(place, 0, insert(unsendable))
      const { outcomes } = await outcomesOf(counted(), statements)
      expect(codes(outcomes).filter((code) => code === 'ok')).toHaveLength(2)
      expect(codes(outcomes)[place]).toMatch('not today')
    }
    expect(codes((await outcomesOf(counted(), [insert(unsendable)])).outcomes)).toEqual(['TypeError: not today'])
    expect(await written()).toEqual([1, 2, 11, 12, 21, 22])
  })

  it('open the transaction when they are the first', async () => {
    const { sql } = counted()
    const refused = sql.transaction(async (tx) => {
      await tx.batch?.([insert(1), insert(2)])
      throw new Error('undone')
    })
    await expect(refused).rejects.toThrow('undone')
    expect(await written()).toEqual([])
    await sql.transaction(async (tx) => void (await tx.batch?.([insert(1), insert(2)])))
    expect(await written()).toEqual([1, 2])
  })

  it('keep their order among independent ones', async () => {
    const { sql } = counted()
    const count = { text: 'SELECT count(*)::int AS n FROM t WHERE n > $1', parameters: [0] }
    const seen = await sql.transaction(async (tx) => {
      const batch = async (...statements: readonly SqlStatement[]) => (await tx.batch?.(statements)) ?? []
      const [, first, , second] = await Promise.all([
        tx.query(INSERT, [1]),
        batch(count, insert(2), count),
        tx.query(INSERT, [3]),
        batch(count),
      ])
      return [...first, ...second].map((outcome) => (outcome.status === 'fulfilled' ? outcome.value.rows : outcome))
    })
    expect(seen).toEqual([[{ n: 1 }], [], [{ n: 2 }], [{ n: 3 }]])
  })

  it('are sent one by one in pipeline mode', async () => {
    const bed = counted({ pipeline: true } as pg.PoolConfig)
    expect(codes((await outcomesOf(bed, [insert(1), insert(0), insert(2)])).outcomes)).toEqual(['ok', '23514', '25P02'])
    expect(codes((await outcomesOf(bed, [insert(1), insert(2)])).outcomes)).toEqual(['ok', 'ok'])
    expect(await written()).toEqual([1, 2])
  })

  it('all end with the connection, and the next ones get another', async () => {
    const bed = counted()
    const dying = { text: 'SELECT pg_terminate_backend(pg_backend_pid()) WHERE $1', parameters: [true] }
    const { outcomes } = await outcomesOf(bed, [insert(1), dying, insert(2)])
    expect(codes(outcomes).slice(1)).not.toContain('ok')
    expect(codes((await outcomesOf(bed, [insert(3)])).outcomes)).toEqual(['ok'])
    expect(await written()).toEqual([3])
  })

  it('have the time limit of the pool, all together', async () => {
    const bed = counted({ query_timeout: 300 })
    const sleep = { text: 'SELECT pg_sleep($1)', parameters: [0.7] }
    const { outcomes } = await outcomesOf(bed, [insert(1), sleep, insert(2)])
    expect(codes(outcomes)).not.toEqual(['ok', 'ok', 'ok'])
    expect(await written()).toEqual([])
  })

  it('reject when the transaction is over', async () => {
    const { sql } = counted()
    const kept: SqlTransaction[] = []
    await sql.transaction(async (tx) => void kept.push(tx))
    const outcomes = (await kept[0]?.batch?.([insert(1), insert(2)])) ?? []
    expect(codes(outcomes)).toEqual(['core.sql_transaction_ended', 'core.sql_transaction_ended'])
  })

  it('include those of work that shares a transaction and has one each', async () => {
    const { sql, seen } = counted({ max: 2 })
    const { run } = await sharingOn(sql)
    for (let n = 0; n < 40; n++) await Promise.all(Array.from({ length: 30 }, () => run(async () => {})))
    const works = Array.from(
      { length: 20 },
      (_, i): Work =>
        async (tx) => {
          await tx.query(INSERT, [i + 1])
        },
    )
    const before = seen.answers
    await Promise.all(works.map((work) => run(work)))
    // Two transactions: one for their limit, one for all statements, one for the commit, of each.
    expect(seen.answers - before).toBeLessThanOrEqual(6)
    expect(await written()).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    const ends = await Promise.allSettled([21, 1, 22].map((n) => run(async (tx) => void (await tx.query(INSERT, [n])))))
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(ends[1]).toMatchObject({ reason: { code: '23505' } })
    expect(await written()).toEqual(Array.from({ length: 22 }, (_, i) => i + 1))
  })
})
