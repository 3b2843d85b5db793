import type { SqlClient, SqlTransaction } from 'concordat/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { embedded, useEmbedded } from '../../outbox/support/pglite.ts'
import type { SqlStatement } from '../../support/inside/core.ts'
import { type Sharing, sharingOn, type Work } from '../../support/sharing.ts'
import { effects, expectSecondFails, expectSlowPieceLeft } from './pieces.ts'

useEmbedded()

beforeEach(async () => {
  await embedded().query('DROP TABLE IF EXISTS effect')
  await embedded().query('CREATE TABLE effect (id text UNIQUE, n int NOT NULL DEFAULT 0)')
})

interface Batching {
  readonly sql: SqlClient
  /** First parameters of the statements that were sent together. */
  readonly batches: string[][]
  /** Maximum number of statements of one transaction in flight at once. */
  readonly most: () => number
}

/** A client that takes several statements at once. */
function batching(): Batching {
  const own = embedded()
  const batches: string[][] = []
  let most = 0
  const watching = (tx: SqlTransaction): SqlTransaction => {
    let now = 0
    const watched = async <T>(ask: () => Promise<T>): Promise<T> => {
      most = Math.max(most, ++now)
      return ask().finally(() => now--)
    }
    return {
      ...tx,
      query: (text, parameters) => watched(() => tx.query(text, parameters)),
      batch: (statements: readonly SqlStatement[]) => {
        batches.push(statements.map(({ parameters }) => String(parameters[0])))
        return watched(() => Promise.allSettled(statements.map(({ text, parameters }) => tx.query(text, parameters))))
      },
    }
  }
  const sql: SqlClient = {
    ...own,
    transaction: (work, limits) => own.transaction((tx) => work(watching(tx)), limits),
  }
  return { sql, batches, most: () => most }
}

const ADD = 'INSERT INTO effect (id) VALUES ($1)'
const nothing: Work = async () => {}

/** More than a thousand had one statement and did not fail. */
async function together(): Promise<Sharing & Batching> {
  const client = batching()
  const sharing = await sharingOn(client.sql)
  for (let n = 0; n < 40; n++) await Promise.all(Array.from({ length: 30 }, () => sharing.run(nothing)))
  return { ...sharing, ...client }
}

/** Adds its id with one statement; counts its calls, and how many ran at once. */
function counted(id: string, more: Work = nothing) {
  const calls = { made: 0, now: 0, most: 0 }
  const work: Work = async (tx) => {
    calls.made++
    calls.most = Math.max(calls.most, ++calls.now)
    try {
      await tx.query(ADD, [id])
      await more(tx)
    } finally {
      calls.now--
    }
  }
  return { work, calls }
}

describe('work of one statement each', () => {
  test('has its statements sent together', async () => {
    const { run, batches } = await together()
    await Promise.all(['a', 'b', 'c'].map((id) => run(counted(id).work)))
    expect(await effects()).toEqual(['a', 'b', 'c'])
    expect(batches.some((batch) => batch.length > 1)).toBe(true)
    expect(batches.flat().toSorted()).toEqual(['a', 'b', 'c'])
  })

  test('may ask later than the others', async () => {
    const { run, batches } = await together()
    const late = (id: string): Work => {
      const { work } = counted(id)
      return async (tx) => {
        for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
        await work(tx)
      }
    }
    await Promise.all([run(late('a')), run(late('b')), run(counted('c').work), run(counted('d').work)])
    expect(await effects()).toEqual(['a', 'b', 'c', 'd'])
    expect(batches.flat()).toEqual(expect.arrayContaining(['c', 'd']))
  })

  test('gets the rows of its own', async () => {
    const { run } = await together()
    const found = new Map<string, unknown>()
    const ask =
      (id: string): Work =>
      async (tx) => {
        found.set(id, (await tx.query('SELECT $1::text AS id', [id])).rows[0])
      }
    await Promise.all(['a', 'b', 'c'].map((id) => run(ask(id))))
    expect(Object.fromEntries(found)).toEqual({ a: { id: 'a' }, b: { id: 'b' }, c: { id: 'c' } })
  })

  test('sends the values that its statement was asked with, though the piece changes its list', async () => {
    const { run, batches } = await together()
    const reusing =
      (id: string): Work =>
      async (tx) => {
        const values = [id]
        const asked = tx.query(ADD, values)
        values[0] = 'changed'
        await asked
      }
    await Promise.all(['a', 'b'].map((id) => run(reusing(id))))
    expect(batches).toEqual([['a', 'b']])
    expect(await effects()).toEqual(['a', 'b'])
  })

  test('takes effect also without await, and without parameters', async () => {
    const { run, most } = await together()
    const careless: Work = async (tx) => void tx.query(ADD, ['a'])
    const bare: Work = async (tx) => void (await tx.query(`INSERT INTO effect (id) VALUES ('b')`))
    await Promise.all([run(careless), run(bare), run(counted('c').work)])
    expect(await effects()).toEqual(['a', 'b', 'c'])
    expect(most()).toBe(1)
  })

  test('is undone and called again alone when one of them fails, each without its failure', async () => {
    const [a, c] = [counted('a'), counted('c')]
    const failing = counted('b', () => Promise.reject(new Error('b fails')))
    await expectSecondFails(await together(), [a.work, failing.work, c.work], { message: 'b fails' })
    expect(await effects()).toEqual(['a', 'c'])
    for (const { calls } of [a, failing, c]) expect(calls).toMatchObject({ made: 2, most: 1 })
  })

  test('does not get the error of another statement for its own', async () => {
    const sharing = await together()
    await embedded().query(ADD, ['b'])
    await expectSecondFails(sharing, [counted('a').work, counted('b').work, counted('c').work], { code: '23505' })
    expect(await effects()).toEqual(['a', 'b', 'c'])
  })

  test('a piece that fails before its statement harms no other', async () => {
    const [a, c] = [counted('a'), counted('c')]
    const failing: Work = () => Promise.reject(new Error('at once'))
    await expectSecondFails(await together(), [a.work, failing, c.work], { message: 'at once' })
    expect(await effects()).toEqual(['a', 'c'])
    for (const { calls } of [a, c]) expect(calls.made).toBe(1)
  })

  test('is not called again before its first call has ended, though another one failed', async () => {
    const { run } = await together()
    const end = Promise.withResolvers<void>()
    let isFirst = true
    const waiting = counted('a', async () => {
      if (isFirst) await end.promise
      isFirst = false
    })
    const failing = counted('b', () => Promise.reject(new Error('b fails')))
    const ends = Promise.allSettled([waiting, failing].map(({ work }) => run(work)))
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    expect(waiting.calls.made).toBe(1)
    end.resolve()
    expect((await ends).map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(waiting.calls).toMatchObject({ made: 2, most: 1 })
    expect(await effects()).toEqual(['a'])
  })

  test('a slow piece is called again when its first call has ended; the others take effect in between', async () => {
    await expectSlowPieceLeft(await together(), (id, more) => counted(id, more).work)
  })
})

describe('work that needs a second statement', () => {
  /** Reads a value and writes it plus one: a write in between is lost. */
  const readThenWrite =
    (seen: { calls: number }): Work =>
    async (tx) => {
      seen.calls++
      const { rows } = await tx.query<{ n: number }>('SELECT n FROM effect WHERE id = $1 FOR UPDATE', ['x'])
      await tx.query('UPDATE effect SET n = $2::int WHERE id = $1', ['x', (rows[0]?.n ?? Number.NaN) + 1])
    }

  test('is called again alone, so no other work comes between its statements', async () => {
    const { run, batches } = await together()
    await embedded().query(ADD, ['x'])
    const seen = { calls: 0 }
    await Promise.all(Array.from({ length: 6 }, () => run(readThenWrite(seen))))
    const { rows } = await embedded().query('SELECT n FROM effect')
    expect(rows).toEqual([{ n: 6 }])
    const before = batches.length
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 6 }, () => run(readThenWrite(seen))))
    }
    expect((await embedded().query('SELECT n FROM effect')).rows).toEqual([{ n: 36 }])
    // Learned: from then on they are called one after the other, and once.
    expect(batches).toHaveLength(before)
    expect(seen.calls).toBeLessThanOrEqual(36 + 6)
  })

  test('is called again alone though it takes the refusal for its own failure', async () => {
    const { run } = await together()
    const catching = counted('a', async (tx) => {
      await tx.query(ADD, ['a2']).catch(() => undefined)
    })
    const b = counted('b')
    await Promise.all([run(catching.work), run(b.work)])
    expect(await effects()).toEqual(['a', 'a2', 'b'])
  })

  test('costs no savepoints: it is no failure', async () => {
    const { run } = await together()
    const two = counted('a', async (tx) => void (await tx.query(ADD, ['a2'])))
    await Promise.all([run(two.work), run(counted('b').work)])
    const [c, d] = [counted('c'), counted('d', () => Promise.reject(new Error('undone with its neighbours')))]
    await Promise.allSettled([run(c.work), run(d.work)])
    // With savepoints the work would have been called once.
    expect(c.calls.made).toBe(2)
  })

  test('does not count as one-statement work while it is among the last thousand', async () => {
    const { sql, batches } = batching()
    const { run } = await sharingOn(sql)
    const two: Work = async (tx) => {
      await tx.query('SELECT $1::text', ['one'])
      await tx.query('SELECT $1::text', ['two'])
    }
    for (let n = 0; n < 60; n++) {
      await Promise.all(Array.from({ length: 30 }, (_, i) => run(n % 20 === 19 && i === 0 ? two : nothing)))
    }
    await Promise.all(['a', 'b'].map((id) => run(counted(id).work)))
    expect(batches).toEqual([])
    expect(await effects()).toEqual(['a', 'b'])
  })
})

describe('work that continues after its statement', () => {
  const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  /** Work under a row lock, done outside the database. */
  const guarded =
    (sections: { now: number; most: number }): Work =>
    async (tx) => {
      await tx.query('UPDATE effect SET n = n + 1 WHERE id = $1', ['x'])
      sections.most = Math.max(sections.most, ++sections.now)
      await later()
      sections.now--
    }

  test('does so alone, as it would under the lock of its row', async () => {
    const { run, batches } = await together()
    await embedded().query(ADD, ['x'])
    const sections = { now: 0, most: 0 }
    await Promise.all(Array.from({ length: 8 }, () => run(guarded(sections))))
    const before = batches.length
    for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 8 }, () => run(guarded(sections))))
    expect((await embedded().query('SELECT n FROM effect')).rows).toEqual([{ n: 40 }])
    expect(sections).toEqual({ now: 0, most: 1 })
    // Learned: from then on they are called one after the other.
    expect(batches).toHaveLength(before)
  })

  test('finds no effects of later work', async () => {
    const { run } = await together()
    const seen: unknown[] = []
    let committed = 0
    const looking: Work = async (tx) => {
      seen.push((await tx.query('SELECT count(*)::int AS n, $1::text AS me FROM effect', ['a'])).rows[0])
      await later()
      committed = seen.length
    }
    await Promise.all([run(looking), run(counted('b').work), run(counted('c').work)])
    expect(await effects()).toEqual(['b', 'c'])
    expect(committed).toBe(2)
  })

  test('may wait before it', async () => {
    const { run, batches } = await together()
    const calls = { now: 0, most: 0 }
    const ready = later()
    const works = ['a', 'b', 'c'].map(
      (id): Work =>
        async (tx) => {
          calls.most = Math.max(calls.most, ++calls.now)
          await ready
          calls.now--
          await tx.query(ADD, [id])
        },
    )
    await Promise.all(works.map((work) => run(work)))
    expect(calls.most).toBeGreaterThan(1)
    expect(batches.flat().length).toBeGreaterThan(1)
    expect(await effects()).toEqual(['a', 'b', 'c'])
  })

  test('does not count as work that ends with it', async () => {
    const { sql, batches } = batching()
    const { run } = await sharingOn(sql)
    const lingering: Work = async (tx) => {
      await tx.query('SELECT $1::text', ['one'])
      await later()
    }
    for (let n = 0; n < 60; n++) {
      await Promise.all(Array.from({ length: 30 }, (_, i) => run(n % 20 === 19 && i === 0 ? lingering : nothing)))
    }
    await Promise.all(['a', 'b'].map((id) => run(counted(id).work)))
    expect(batches).toEqual([])
  })
})
