import type { SqlClient, SqlTransaction } from 'concordat/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { embedded, useEmbedded } from '../../outbox/support/pglite.ts'
import { type Sharing, sharingOn, type Work, xidOf } from '../../support/sharing.ts'
import {
  effects,
  expectCaughtFailureRefused,
  expectSecondFails,
  expectSlowPieceLeft,
  type MakePiece,
} from './pieces.ts'

useEmbedded()

beforeEach(async () => {
  await embedded().query('DROP TABLE IF EXISTS effect')
  await embedded().query('CREATE TABLE effect (id text UNIQUE)')
})

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

const piece: MakePiece = (id, more) => counted(id, more).work

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
    const failing = counted('b', async () => {
      throw new Error('b fails')
    })
    const [a, c] = [counted('a'), counted('c')]
    await expectSecondFails(await trusted(), [a.work, failing.work, c.work], { message: 'b fails' })
    expect(await effects()).toEqual(['a', 'c'])
    for (const { xids } of [a, c, failing]) expect(xids.length).toBeLessThanOrEqual(2)
  })

  test('a piece that keeps failing has the others called again once, not each time', async () => {
    const sharing = await trusted()
    let failures = 0
    const others: Array<ReturnType<typeof counted>> = []
    for (let round = 0; round < 20; round++) {
      const failing = counted('x', async () => {
        failures++
        throw new Error('it keeps failing')
      })
      const [a, c] = [counted(`a${round}`), counted(`c${round}`)]
      others.push(a, c)
      await expectSecondFails(sharing, [a.work, failing.work, c.work], { message: 'it keeps failing' })
    }
    expect(await effects()).toHaveLength(40)
    expect(others.filter(({ xids }) => xids.length > 1).length).toBeLessThanOrEqual(2)
    expect(failures).toBeLessThanOrEqual(21)
  })

  test('a piece that fails before it has written anything harms no other', async () => {
    const [a, c] = [counted('a'), counted('c')]
    const failing: Work = () => Promise.reject(new Error('at once'))
    await expectSecondFails(await trusted(), [a.work, failing, c.work], { message: 'at once' })
    expect(await effects()).toEqual(['a', 'c'])
    for (const { xids } of [a, c]) expect(xids).toHaveLength(1)
  })

  test('a failed statement whose error was caught does not count as done', async () => {
    await expectCaughtFailureRefused(await trusted(), piece)
  })

  test('a slow piece is called again when its first call has ended, and the others take effect in between', async () => {
    await expectSlowPieceLeft(await trusted(), piece)
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
