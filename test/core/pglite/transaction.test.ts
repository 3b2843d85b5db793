/** Transactions on a PGlite: their beginning and their commit cross into it with their statements. */
import { PGlite, type PGliteOptions } from '@electric-sql/pglite'
import type { SqlTransaction } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { freshPglite } from '../../support/pglite.ts'
import { begunFromCopy } from '../../support/pglite-copy.ts'

const database = freshPglite()
const sql = pgliteClient(database)
const INSERT = 'INSERT INTO t (n) VALUES ($1)'

beforeAll(async () => {
  await database.waitReady
  await database.exec('CREATE TABLE t (n int CHECK (n > 0), UNIQUE (n) DEFERRABLE INITIALLY DEFERRED)')
}, 180_000)
afterAll(() => database.close())
beforeEach(async () => void (await sql.query('TRUNCATE t')))

async function written(): Promise<number[]> {
  return (await sql.query<{ n: number }>('SELECT n FROM t ORDER BY n')).rows.map(({ n }) => n)
}

/** Counts how often the transaction crosses into PGlite. */
async function crossings(work: (tx: SqlTransaction) => Promise<unknown>): Promise<number> {
  const run = database.execProtocolStream.bind(database)
  let count = 0
  database.execProtocolStream = (message, options) => {
    count++
    return run(message, options)
  }
  try {
    await sql.transaction(work)
    return count
  } finally {
    database.execProtocolStream = run
  }
}

async function prepare(): Promise<void> {
  for (const n of [101, 102, 103]) await sql.transaction(async (tx) => void (await tx.last?.(INSERT, [n])))
  await sql.query('TRUNCATE t')
}

describe('the crossings of a transaction', () => {
  test('are one for each statement and one for the commit', async () => {
    await prepare()
    const count = await crossings(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.query(INSERT, [2])
    })
    expect(count).toBe(3)
    expect(await written()).toEqual([1, 2])
  })

  test('are one for each statement when the last one is marked', async () => {
    await prepare()
    const count = await crossings(async (tx) => {
      await tx.query(INSERT, [1])
      expect(await tx.last?.(INSERT, [2])).toMatchObject({ rowCount: 1 })
    })
    expect(count).toBe(2)
    expect(await crossings(async (tx) => tx.last?.(INSERT, [3]))).toBe(1)
    expect(await written()).toEqual([1, 2, 3])
  })

  test('are none without a statement', async () => {
    expect(await crossings(async () => undefined)).toBe(0)
  })

  test('give each statement its own rows, whether it is prepared or not', async () => {
    for (const n of [1, 2, 3, 4]) {
      const found = await sql.transaction(async (tx) => {
        const [first] = (await tx.query<{ a: number }>('SELECT $1::int AS a', [n])).rows
        const last = await tx.last?.(`${INSERT} RETURNING n, 'x' AS b`, [n])
        return { first, last: last?.rows, count: last?.rowCount }
      })
      expect(found).toEqual({ first: { a: n }, last: [{ n, b: 'x' }], count: 1 })
    }
    expect(await written()).toEqual([1, 2, 3, 4])
  })
})

describe('a last statement', () => {
  test.each([1, 2, 3])('that fails undoes all, like a first one (call %i)', async () => {
    const bad = { code: '23514' }
    await expect(sql.transaction((tx) => tx.query(INSERT, [0]))).rejects.toMatchObject(bad)
    await expect(sql.transaction(async (tx) => tx.last?.(INSERT, [0]))).rejects.toMatchObject(bad)
    const last = sql.transaction(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.last?.(INSERT, [0])
    })
    await expect(last).rejects.toMatchObject(bad)
    await expect(sql.transaction(async (tx) => tx.last?.('SELECT nowhere', []))).rejects.toMatchObject({
      code: '42703',
    })
    expect(await written()).toEqual([])
    await sql.transaction(async (tx) => void (await tx.last?.(INSERT, [7])))
    expect(await written()).toEqual([7])
  })

  test('rejects with the answer to the commit', async () => {
    const twice = sql.transaction(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.last?.(INSERT, [1])
    })
    await expect(twice).rejects.toMatchObject({ code: '23505' })
    expect(await written()).toEqual([])
  })

  test('that failed and was caught does not pass for a commit', async () => {
    const caught = sql.transaction(async (tx) => {
      await tx.query(INSERT, [1])
      await tx.last?.(INSERT, [0]).catch(() => undefined)
    })
    await expect(caught).rejects.toMatchObject({ code: 'core.sql_commit', cause: { code: '23514' } })
    expect(await written()).toEqual([])
  })

  test('commits nothing when a statement before it failed and was caught', async () => {
    const caught = sql.transaction(async (tx) => {
      await tx.query(INSERT, [0]).catch(() => undefined)
      await tx.last?.(INSERT, [1])
    })
    await expect(caught).rejects.toMatchObject({ code: '25P02' })
    expect(await written()).toEqual([])
  })

  test('ends the transaction: later ones are not run', async () => {
    const late = sql.transaction(async (tx) => {
      await tx.last?.(INSERT, [1])
      await tx.query(INSERT, [2])
    })
    await expect(late).rejects.toMatchObject({ code: 'core.sql_transaction_ended' })
    expect(await written()).toEqual([1])
  })

  test('notifies listeners of the commit', async () => {
    const heard: string[] = []
    await sql.transaction(async (tx) => {
      tx.afterCommit?.(() => heard.push('committed'))
      await tx.last?.(INSERT, [1])
      expect(heard).toEqual([])
    })
    expect(heard).toEqual(['committed'])
  })
})

test('bytes come back as they were written, also none and many', async () => {
  for (const size of [0, 1, 5_000]) {
    const bytes = new Uint8Array(size).map((_, n) => n)
    const { rows } = await sql.query<{ b: Uint8Array }>('SELECT $1::bytea AS b', [bytes])
    expect(rows).toEqual([{ b: bytes }])
    expect(rows[0]?.b.constructor).toBe(Uint8Array)
  }
})

test('a parser for bytes that PGlite was given is used', async () => {
  const own = new PGlite({ ...begunFromCopy<PGliteOptions>({}), parsers: { 17: (text) => `own ${text}` } })
  try {
    const { rows } = await pgliteClient(own).query(`SELECT '\\x01'::bytea AS b`)
    expect(rows).toEqual([{ b: 'own \\x01' }])
  } finally {
    await own.close()
  }
}, 180_000)
