import { AsyncLocalStorage } from 'node:async_hooks'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { embedded, useEmbedded } from '../../outbox/support/pglite.ts'
import { lossyAnswers } from '../../support/lossy-answers.ts'
import { StillClock, sharingOn, type Work, xidOf } from '../../support/sharing.ts'
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
  await embedded().query('CREATE TABLE effect (id text UNIQUE DEFERRABLE INITIALLY DEFERRED)')
})

async function insert(tx: SqlTransaction, id: string): Promise<void> {
  await tx.query('INSERT INTO effect VALUES ($1)', [id])
}

/** Inserts, and says in which transactions that was. */
function inserting(id: string, xids: string[] = [], more: Work = async () => {}): Work {
  return async (tx) => {
    await insert(tx, id)
    xids.push(await xidOf(tx))
    await more(tx)
  }
}

const piece: MakePiece = (id, more) => inserting(id, [], more)

describe('work that is ready together', () => {
  test('shares a transaction, one after the other', async () => {
    const { run } = await sharingOn(embedded())
    const xids: string[] = []
    let underWay = 0
    let most = 0
    const work = (id: string): Work => {
      return inserting(id, xids, async (tx) => {
        most = Math.max(most, ++underWay)
        await tx.query('SELECT 1')
        underWay--
      })
    }
    await Promise.all(['a', 'b', 'c', 'd'].map((id) => run(work(id))))
    expect(await effects()).toEqual(['a', 'b', 'c', 'd'])
    expect(new Set(xids).size).toBe(1)
    expect(most).toBe(1)
  })

  test('a failed piece is undone alone, and called once', async () => {
    let calls = 0
    const failing = piece('b', async () => {
      calls++
      throw new Error('b fails')
    })
    await expectSecondFails(await sharingOn(embedded()), [piece('a'), failing, piece('c')], { message: 'b fails' })
    expect(await effects()).toEqual(['a', 'c'])
    expect(calls).toBe(1)
  })

  test('a statement that fails breaks no transaction but its own part', async () => {
    const { run } = await sharingOn(embedded())
    const broken: Work = async (tx) => void (await tx.query('SELEC 1'))
    const ends = await Promise.allSettled([run(broken), run(inserting('a')), run(inserting('b'))])
    expect(ends[0]).toMatchObject({ status: 'rejected', reason: { code: '42601' } })
    expect(await effects()).toEqual(['a', 'b'])
  })

  test('a failed statement whose error was caught does not count as done', async () => {
    await expectCaughtFailureRefused(await sharingOn(embedded()), piece)
  })

  test('a savepoint of its own is its own', async () => {
    const { run } = await sharingOn(embedded())
    const trying = inserting('a', [], async (tx) => {
      await tx.query('SAVEPOINT mine')
      await tx.query('SELECT * FROM missing').catch(() => undefined)
      await tx.query('ROLLBACK TO mine')
    })
    await Promise.all([run(trying), run(inserting('b'))])
    expect(await effects()).toEqual(['a', 'b'])
  })

  test.each(['COMMIT', '/* done */ commit', 'ROLLBACK', 'SELECT 1; END'])(
    'a statement that would end the transaction is refused, and the others are done: %s',
    async (text) => {
      const { run } = await sharingOn(embedded())
      const ending: Work = async (tx) => void (await tx.query(text))
      const ends = await Promise.allSettled([run(inserting('a')), run(ending), run(inserting('b'))])
      expect(ends[1]).toMatchObject({ status: 'rejected', reason: { code: 'core.sql_transaction_control' } })
      expect(await effects()).toEqual(['a', 'b'])
    },
  )

  test.each(["SELECT set_config('a.b', 'c', true)", 'SET LOCAL a.b = 1', 'DO $$ BEGIN NULL; END $$'])(
    'work that reaches beyond a savepoint runs in a transaction of its own: %s',
    async (text) => {
      const { run } = await sharingOn(embedded())
      const [xids, others]: [string[], string[]] = [[], []]
      const calls: boolean[] = []
      const reaching: Work = async (tx) => {
        calls.push(true)
        xids.push(await xidOf(tx))
        if (calls.length === 1) await tx.query(text)
      }
      await Promise.all([run(inserting('a', others)), run(reaching), run(inserting('b', others))])
      expect(await effects()).toEqual(['a', 'b'])
      expect(xids).toHaveLength(2)
      expect(xids[0]).toBe(others[0])
      expect(xids[1]).not.toBe(others[0])
      const later: string[] = []
      await Promise.all([run(inserting('c', later)), run(inserting('d', later))])
      expect(new Set(later).size).toBe(2)
    },
  )

  test('its transaction ends with its turn, though the shared one continues', async () => {
    const { run } = await sharingOn(embedded())
    let kept: SqlTransaction | undefined
    const keeping = inserting('a', [], async (tx) => void (kept = tx))
    const late = inserting('b', [], async () => {
      await expect(kept?.query('SELECT 1')).rejects.toMatchObject({ code: 'core.sql_transaction_ended' })
    })
    await Promise.all([run(keeping), run(late)])
    expect(await effects()).toEqual(['a', 'b'])
  })

  test('each is called in the context of its caller, inside the transaction', async () => {
    const { run } = await sharingOn(embedded())
    const storage = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const looking: Work = async (tx) => {
      await tx.query('SELECT 1')
      seen.push(storage.getStore(), embedded().isInTransaction?.())
    }
    await Promise.all(['a', 'b'].map((name) => storage.run(name, () => run(looking))))
    expect(seen).toEqual(['a', true, 'b', true])
  })

  test('listeners hear of the commit, not those of undone work', async () => {
    const { run } = await sharingOn(embedded())
    const heard: string[] = []
    const listening = (name: string): Work =>
      inserting(name, [], async (tx) => tx.afterCommit?.(() => void heard.push(name)))
    const failing: Work = async (tx) => {
      tx.afterCommit?.(() => void heard.push('never'))
      throw new Error('undone')
    }
    const ends = Promise.allSettled([run(listening('a')), run(failing), run(listening('b'))])
    expect(heard).toEqual([])
    await ends
    expect(heard).toEqual(['a', 'b'])
  })

  test('a listener hears whether its own work has gone back to a savepoint', async () => {
    const { run } = await sharingOn(embedded())
    const heard: Record<string, boolean | undefined> = {}
    const listening = (name: string, more: Work): Work =>
      inserting(name, [], async (tx) => {
        tx.afterCommit?.((isWhole) => void (heard[name] = isWhole))
        await more(tx)
      })
    const back = listening('a', async (tx) => {
      await tx.query('SAVEPOINT mine')
      await tx.query('ROLLBACK TO mine')
    })
    await Promise.all([run(back), run(listening('b', async () => {}))])
    expect(heard).toEqual({ a: false, b: true })
  })
})

describe('work in the way of the others', () => {
  test('a slow piece lets the others commit, and is called again when its first call has ended', async () => {
    await expectSlowPieceLeft(await sharingOn(embedded()), piece)
  })

  test('a slow piece is not called again before its first call has ended, though the connection is dead', async () => {
    const lossy = lossyAnswers(embedded(), 'before')
    const { run, clock } = await sharingOn(lossy.sql)
    const begun = Promise.withResolvers<void>()
    const end = Promise.withResolvers<void>()
    const calls: string[] = []
    const slow: Work = async () => {
      calls.push('begun')
      if (calls.length > 1) return
      begun.resolve()
      await end.promise
      calls.push('ended')
    }
    const [first, second, third] = [run(inserting('a')), run(slow), run(inserting('c'))]
    await begun.promise
    lossy.breakNth(1)
    for (let ms = 0; ms <= 300; ms += 25) clock.move(25)
    await Promise.all([first, third])
    expect(lossy.broke()).toBe(true)
    end.resolve()
    await second
    expect(calls).toEqual(['begun', 'ended', 'begun'])
    expect(await effects()).toEqual(['a', 'c'])
  })
})

describe('a commit', () => {
  test('on a database that is down is tried once for all of them', async () => {
    let isAway = false
    let tries = 0
    const sql = {
      ...embedded(),
      transaction: <T>(work: (tx: SqlTransaction) => Promise<T>): Promise<T> => {
        tries++
        return isAway ? Promise.reject(new Error('away')) : embedded().transaction(work)
      },
    }
    const { run } = await sharingOn(sql)
    isAway = true
    const ends = await Promise.allSettled([run(inserting('a')), run(inserting('b')), run(inserting('c'))])
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(tries).toBe(2)
  })

  test('a commit that the server refuses fails the piece that is to blame', async () => {
    await embedded().transaction((tx) => insert(tx, 'taken'))
    await expectSecondFails(await sharingOn(embedded()), [piece('a'), piece('taken'), piece('b')], { code: '23505' })
    expect(await effects()).toEqual(['a', 'b', 'taken'])
  })

  test('a refused commit leaves no failure behind that depends on uncommitted work', async () => {
    const { run } = await sharingOn(embedded())
    await embedded().transaction((tx) => insert(tx, 'taken'))
    const toBlame = inserting('last unit', [], (tx) => insert(tx, 'taken'))
    const refusing: Work = async (tx) => {
      const { rows } = await tx.query("SELECT FROM effect WHERE id = 'last unit'")
      if (rows.length > 0) throw new Error('the last unit is gone')
      await insert(tx, 'sold')
    }
    const ends = await Promise.allSettled([run(toBlame), run(refusing)])
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    expect(await effects()).toEqual(['sold', 'taken'])
  })

  test.each(['before', 'after'] as const)(
    'without an answer rejects all of them, lost %s its execution',
    async (when) => {
      const lossy = lossyAnswers(embedded(), when)
      const { run } = await sharingOn(lossy.sql)
      const calls: string[] = []
      const work = (id: string): Work => inserting(id, [], async () => void calls.push(id))
      // The check for functions that make settings, SAVEPOINT, 2 x (INSERT, xid), RELEASE: then the commit.
      lossy.breakNth(8)
      const ends = await Promise.allSettled([run(work('a')), run(work('b'))])
      expect(lossy.broke()).toBe(true)
      expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
      expect(await effects()).toEqual(when === 'after' ? ['a', 'b'] : [])
      expect(calls).toEqual(['a', 'b'])
    },
  )

  test('that went out with the last statement and has no answer rejects all of them, and calls none again', async () => {
    const lost = Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
    const own = embedded()
    let isLost = false
    const transaction: SqlClient['transaction'] = async (work) => {
      const result = await own.transaction((tx) => {
        const last: SqlTransaction['last'] = async (text, parameters) => {
          await tx.query(text, parameters)
          isLost = true
          throw lost
        }
        // The server commits, and the caller gets no answer.
        return work({ ...tx, last }).catch((error: unknown) => {
          if (error !== lost) throw error
          return undefined as never
        })
      })
      if (isLost) throw lost
      return result
    }
    const close = async (tx: SqlTransaction): Promise<void> => void (await tx.last?.('SELECT $1::int', [1]))
    const { run } = await sharingOn({ ...own, transaction }, new StillClock(), { close })
    const calls: string[] = []
    const work = (id: string): Work => inserting(id, [], async () => void calls.push(id))
    const ends = await Promise.allSettled([run(work('a')), run(work('b'))])
    expect(ends).toEqual([
      { status: 'rejected', reason: lost },
      { status: 'rejected', reason: lost },
    ])
    expect(calls).toEqual(['a', 'b'])
    expect(await effects()).toEqual(['a', 'b'])
  })
})
