import { type SqlClient, type SqlTransaction, systemClock } from 'concordat/core'
import { defineSaga, Refusal } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { lossyAnswers } from '../../support/lossy-answers.ts'
import { xidOf } from '../../support/sharing.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded, FAST } from '../support/world.ts'

const Input = z.object({})
const setup = runningWorlds()
/** Steps take next to no time, so as many as wait may share a transaction. */
const clock = { ...systemClock, monotonic: () => performance.now() / 20 }
const IDS = Array.from('abcdefghijkl')

type Invoke = (context: { readonly sagaId: string; readonly tx: SqlTransaction }) => Promise<unknown>

interface Starting {
  readonly invoke?: Invoke
  readonly sharesTransactions?: boolean
  readonly sql?: SqlClient
}

async function start({ invoke = async () => {}, sharesTransactions, sql: given }: Starting = {}) {
  const xids = new Map<string, string>()
  const calls: string[] = []
  const buy = defineSaga('buy', { version: 1, input: Input })
    .step('note', {
      transactional: true,
      retry: FAST,
      invoke: async ({ sagaId, tx }) => {
        calls.push(sagaId)
        xids.set(sagaId, await xidOf(tx))
        await tx.query(`INSERT INTO ${table} VALUES ($1, 'note')`, [sagaId])
        return invoke({ sagaId, tx })
      },
      compensate: async ({ sagaId, tx }) => {
        await tx.query(`DELETE FROM ${table} WHERE id = $1`, [sagaId])
      },
    })
    .step('end', { transactional: true, pivot: true, invoke: () => undefined })
  const world = await setup({ sagas: [buy], coordinator: { clock, sharesTransactions }, ...(given && { sql: given }) })
  const table = `${world.schema}.effect`
  await world.sql.query(`CREATE TABLE ${table} (id text, what text)`)
  const { coordinator, sql } = world
  const place = (id: string) => coordinator.start(buy, { id, input: {} })
  await (await place('first')).outcome()
  calls.length = 0
  /** Places all at once: they are committed together, and found together. */
  const placeAll = async (ids: readonly string[] = IDS, placed = (): void => {}) => {
    const runs = await sql.transaction((tx) =>
      Promise.all(ids.map((id) => coordinator.start(tx, buy, { id, input: {} }))),
    )
    placed()
    return Promise.all(runs.map((run) => run.outcome({ timeoutMs: 60_000 })))
  }
  const effects = async (): Promise<readonly string[]> => {
    const { rows } = await embedded().query<{ id: string }>(`SELECT id FROM ${table} WHERE id <> 'first' ORDER BY id`)
    return rows.map(({ id }) => id)
  }
  return { ...world, buy, placeAll, effects, calls, transactions: () => new Set(IDS.map((id) => xids.get(id))).size }
}

describe('transactional steps that are ready together', () => {
  test('share transactions, each saga with its own effect and result', async () => {
    const { placeAll, effects, calls, transactions } = await start({ invoke: async ({ sagaId }) => `noted ${sagaId}` })
    const ends = await placeAll()
    expect(ends.map((end) => end.status === 'completed' && end.results.note)).toEqual(IDS.map((id) => `noted ${id}`))
    expect(await effects()).toEqual(IDS)
    expect([...calls].sort()).toEqual(IDS)
    expect(transactions()).toBeLessThan(IDS.length / 2)
  })

  test('are undone alone when they fail, and are tried again', async () => {
    const failures: string[] = []
    const { placeAll, effects, calls, events, transactions } = await start({
      invoke: async ({ sagaId, tx }) => {
        if (sagaId !== 'e' || failures.length > 1) return
        failures.push(sagaId)
        await tx.query('SELECT 1 / 0')
      },
    })
    const ends = await placeAll()
    expect(ends.map(({ status }) => status)).toEqual(IDS.map(() => 'completed'))
    expect(await effects()).toEqual(IDS)
    expect(transactions()).toBeLessThan(IDS.length)
    expect(failures).toHaveLength(2)
    expect([...calls].sort()).toEqual([...IDS, 'e', 'e'].sort())
    expect((await events('buy', 'e')).filter((event) => event === 'failed note')).toHaveLength(2)
  })

  test('use no attempt when they are called again, each in its own transaction, and one of these does not begin', async () => {
    const inner = embedded()
    const seen = new Set<string>()
    let next: 'shares' | 'does not begin' | 'is over' = 'shares'
    const sql: SqlClient = {
      ...inner,
      transaction: async (work, limits) => {
        if (next !== 'does not begin') return inner.transaction(work, limits)
        next = 'is over'
        throw Object.assign(new Error('sorry, too many clients already'), { code: '53300' })
      },
    }
    const { placeAll, effects, events, schema } = await start({
      sql,
      invoke: async ({ sagaId, tx }) => {
        const xid = await xidOf(tx)
        if (next === 'shares' && seen.has(xid)) {
          next = 'does not begin'
          // This saga no longer fits its plan.
          await tx.query(`UPDATE ${schema}.saga SET revision = revision + 7 WHERE id = $1`, [sagaId])
        }
        seen.add(xid)
      },
    })
    const ends = await placeAll()
    expect(ends.map(({ status }) => status)).toEqual(IDS.map(() => 'completed'))
    expect(await effects()).toEqual(IDS)
    expect(next).toBe('is over')
    const timelines = await Promise.all(IDS.map((id) => events('buy', id)))
    expect(timelines.flat()).not.toContain('failed note')
  })

  test('are refused alone', async () => {
    const { placeAll, effects, calls } = await start({
      invoke: async ({ sagaId }) => {
        if (sagaId === 'c') throw new Refusal('no.more', 'there is no more')
      },
    })
    const ends = await placeAll()
    expect(ends.map(({ status }) => status)).toEqual(IDS.map((id) => (id === 'c' ? 'compensated' : 'completed')))
    expect(await effects()).toEqual(IDS.filter((id) => id !== 'c'))
    expect([...calls].sort()).toEqual(IDS)
  })

  test('have a transaction each by option', async () => {
    const { placeAll, effects, transactions } = await start({ sharesTransactions: false })
    await placeAll()
    expect(await effects()).toEqual(IDS)
    expect(transactions()).toBe(IDS.length)
  })

  test.each(['before', 'after'] as const)(
    'have each effect once, when any answer of the database is lost %s its execution',
    async (when) => {
      const lossy = lossyAnswers(embedded(), when)
      const { placeAll, effects } = await start({ sql: lossy.sql })
      const expected: string[] = []
      for (let nth = 1; nth <= 20; nth++) {
        const ids = ['a', 'b', 'c'].map((name) => `${String(nth).padStart(2, '0')}${name}`)
        expected.push(...ids)
        const never = (): void => lossy.breakNth(Number.POSITIVE_INFINITY)
        never()
        // The call of `outcome` may itself be the one without an answer.
        const ends = await placeAll(ids, () => lossy.breakNth(nth)).catch(() => {
          never()
          return placeAll(ids)
        })
        expect(ends.map(({ status }) => status)).toEqual(ids.map(() => 'completed'))
        expect(await effects()).toEqual(expected)
      }
      expect(lossy.broke()).toBe(true)
    },
    120_000,
  )

  test('steps that were not called when the coordinator closed are called by the next one', async () => {
    const close: { now?: () => void } = {}
    const { placeAll, effects, calls, coordinator, another, buy } = await start({ invoke: async () => close.now?.() })
    close.now = () => void coordinator.close()
    await expect(placeAll()).rejects.toThrow('closed')
    await coordinator.close()
    const called = calls.length
    expect(called).toBeGreaterThan(0)
    expect(called).toBeLessThan(IDS.length)
    expect(await effects()).toHaveLength(called)
    await using next = another({ clock })
    await next.run()
    const ends = await Promise.all(IDS.map((id) => next.get(buy, id).outcome()))
    expect(ends.map(({ status }) => status)).toEqual(IDS.map(() => 'completed'))
    expect(await effects()).toEqual(IDS)
    expect([...calls].sort()).toEqual(IDS)
  })
})
