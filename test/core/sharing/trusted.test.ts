import type { SqlClient, SqlTransaction } from 'concordat/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { embedded, useEmbedded } from '../../outbox/support/pglite.ts'
import { type Sharing, sharingOn, type Work, xidOf } from '../../support/sharing.ts'

useEmbedded()

beforeEach(async () => {
  await embedded().query('DROP TABLE IF EXISTS effect')
  await embedded().query('CREATE TABLE effect (id text UNIQUE)')
})

async function effects(): Promise<readonly string[]> {
  const { rows } = await embedded().query<{ id: string }>('SELECT id FROM effect ORDER BY id')
  return rows.map(({ id }) => id)
}

/** The same client, which counts round trips that take or release a savepoint. */
function watched(): { readonly sql: SqlClient; savepoints: number } {
  const own = embedded()
  const watch = {
    savepoints: 0,
    sql: {
      ...own,
      transaction: (work, limits) =>
        own.transaction((tx) => {
          const seen = (text: string): void => {
            if (/SAVEPOINT/.test(text)) watch.savepoints++
          }
          const watching: SqlTransaction = {
            ...tx,
            query: (text, parameters) => {
              seen(text)
              return tx.query(text, parameters)
            },
            script: undefined,
          }
          return work(watching)
        }, limits),
    } satisfies SqlClient as SqlClient,
  }
  return watch
}

/** More than a thousand have worked without a failure. */
async function trusted(sql: SqlClient = embedded()): Promise<Sharing> {
  const sharing = await sharingOn(sql)
  for (let n = 0; n < 40; n++) await Promise.all(Array.from({ length: 30 }, () => sharing.run(async () => {})))
  return sharing
}

/** Inserts its id; records the number of its calls. */
function counted(id: string, more: (tx: SqlTransaction) => Promise<void> = async () => {}) {
  const xids: string[] = []
  const work: Work = async (tx) => {
    xids.push(await xidOf(tx))
    await tx.query('INSERT INTO effect VALUES ($1)', [id])
    await more(tx)
  }
  return { work, xids }
}

describe('after a thousand successes', () => {
  test('a transaction is shared without savepoints', async () => {
    const watch = watched()
    const { run } = await trusted(watch.sql)
    watch.savepoints = 0
    const pieces = ['a', 'b', 'c'].map((id) => counted(id))
    await Promise.all(pieces.map(({ work }) => run(work)))
    expect(await effects()).toEqual(['a', 'b', 'c'])
    expect(new Set(pieces.flatMap(({ xids }) => xids)).size).toBe(1)
    expect(watch.savepoints).toBe(0)
  })

  test('a failed piece is undone alone; the others are called at most once more, and take effect once', async () => {
    const { run } = await trusted()
    const failing = counted('b', async () => {
      throw new Error('b fails')
    })
    const [a, c] = [counted('a'), counted('c')]
    const ends = await Promise.allSettled([a, failing, c].map(({ work }) => run(work)))
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(ends[1]).toMatchObject({ reason: { message: 'b fails' } })
    expect(await effects()).toEqual(['a', 'c'])
    for (const { xids } of [a, c, failing]) expect(xids.length).toBeLessThanOrEqual(2)
  })

  test('a piece that keeps failing has the others called again once, not each time', async () => {
    const { run } = await trusted()
    let failures = 0
    const others: Array<ReturnType<typeof counted>> = []
    for (let round = 0; round < 20; round++) {
      const failing = counted('x', async () => {
        failures++
        throw new Error('it keeps failing')
      })
      const pair = [counted(`a${round}`), counted(`c${round}`)]
      others.push(...pair)
      const ends = Promise.allSettled([pair[0], failing, pair[1]].map((piece) => run(piece?.work as Work)))
      expect((await ends).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    }
    expect(await effects()).toHaveLength(40)
    expect(others.filter(({ xids }) => xids.length > 1).length).toBeLessThanOrEqual(2)
    expect(failures).toBeLessThanOrEqual(21)
  })

  test('a piece that fails before it has written anything harms no other', async () => {
    const { run } = await trusted()
    const [a, c] = [counted('a'), counted('c')]
    const failing: Work = () => Promise.reject(new Error('at once'))
    const ends = await Promise.allSettled([run(a.work), run(failing), run(c.work)])
    expect(ends[1]).toMatchObject({ status: 'rejected', reason: { message: 'at once' } })
    expect(await effects()).toEqual(['a', 'c'])
    for (const { xids } of [a, c]) expect(xids).toHaveLength(1)
  })

  test('a failed statement whose error was caught does not count as done', async () => {
    const { run } = await trusted()
    const swallowing = counted('a', async (tx) => {
      await tx.query('SELECT * FROM missing').catch(() => undefined)
    })
    const ends = await Promise.allSettled([run(swallowing.work), run(counted('b').work)])
    expect(ends[0]).toMatchObject({ status: 'rejected', reason: { code: 'core.sql_commit' } })
    expect(await effects()).toEqual(['b'])
  })

  test('a slow piece is called again when its first call has ended, and the others take effect in between', async () => {
    const { run, clock } = await trusted()
    const begun = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    let calls = 0
    const slow = counted('b', async () => {
      calls++
      if (calls > 1) return
      begun.resolve()
      await end.promise
    })
    const [first, second, third] = [run(counted('a').work), run(slow.work), run(counted('c').work)]
    await begun.promise
    for (let ms = 0; ms <= 300; ms += 25) clock.move(25)
    await Promise.all([first, third])
    expect(await effects()).toEqual(['a', 'c'])
    expect(calls).toBe(1)
    end.resolve()
    await second
    expect(calls).toBe(2)
    expect(await effects()).toEqual(['a', 'b', 'c'])
  })

  test('a piece that reaches beyond its part is called in a transaction of its own, and nothing is shared from then on', async () => {
    const { run } = await trusted()
    const setting = counted('a', async (tx) => void (await tx.query(`SET LOCAL lock_timeout = '1s'`)))
    const b = counted('b')
    await Promise.all([run(setting.work), run(b.work)])
    expect(await effects()).toEqual(['a', 'b'])
    const [c, d] = [counted('c'), counted('d')]
    await Promise.all([run(c.work), run(d.work)])
    expect(c.xids).not.toEqual(d.xids)
  })
})
