// oxlint-disable no-restricted-imports -- inside of the coordinator: what a batch becomes whose answer is lost
import { type SqlClient, type SqlTransaction, systemClock } from 'concordat/core'
import { describe, expect, it, test } from 'vitest'
import { Committer, writePlans } from '../../../saga/coordinator/committer.ts'
import type { Plan } from '../../../saga/coordinator/write-plan.ts'
import type { SagaStore } from '../../../saga/store/store.ts'
import type { SagaWrite } from '../../../saga/store/store-types.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const planOf = (id: string, previous = 0): Plan =>
  ({ write: { row: { name: 'order', id, revision: previous + 1 }, previous }, messages: [] }) as unknown as Plan

const away = { query: () => Promise.reject(new Error('not asked')) } as unknown as SqlClient

/** A table of revisions; the first write fails, after it was done or before. */
function setup(failure: Error, when: 'after' | 'before') {
  const revisions = new Map<string, number>()
  let isFirst = true
  const write = async (_: unknown, writes: readonly SagaWrite[]): Promise<ReadonlySet<number>> => {
    const fails = isFirst
    isFirst = false
    if (fails && when === 'before') throw failure
    const fit = writes.flatMap(({ row, previous }, index) => ((revisions.get(row.id) ?? 0) === previous ? [index] : []))
    for (const index of fit) revisions.set(writes[index]?.row.id ?? '', writes[index]?.row.revision ?? 0)
    if (fails) throw failure
    return new Set(fit)
  }
  const store = { write } as unknown as SagaStore
  return {
    revisions,
    committer: new Committer({ sql: away, store, outbox: { addEncoded: async () => {} }, clock: systemClock }),
  }
}

const lost = Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
const refused = Object.assign(new Error('value out of range'), { code: '22003' })

test('a batch waits for no more than two time limits of a database that is away', async () => {
  let statements = 0
  const write = (): Promise<never> => {
    statements++
    return Promise.reject(lost)
  }
  const store = { write } as unknown as SagaStore
  const committer = new Committer({ sql: away, store, outbox: { addEncoded: async () => {} }, clock: systemClock })
  const ends = await Promise.allSettled(Array.from({ length: 60 }, (_, n) => committer.commit(planOf(`s${n}`))))
  expect(ends).toEqual(ends.map(() => ({ status: 'rejected', reason: lost })))
  expect(statements).toBe(2)
})

test('a start that waits for an open transaction keeps no other start from being written', {
  timeout: 2_000,
}, async () => {
  const clock = new FakeClock()
  const waiting = Promise.withResolvers<never>()
  const write = (_: unknown, writes: readonly SagaWrite[]) =>
    writes.some(({ row }) => row.id === 'taken') ? waiting.promise : Promise.resolve(new Set(writes.keys()))
  const store = { write } as unknown as SagaStore
  const committer = new Committer({ sql: away, store, outbox: { addEncoded: async () => {} }, clock })
  const written: string[] = []
  const commit = (id: string, previous = 0): Promise<unknown> =>
    committer.commit(planOf(id, previous)).then(
      () => written.push(id),
      () => undefined,
    )
  const blocked = [commit('taken')]
  await clock.advance(500)
  await Promise.all([commit('free'), commit('running', 1)])
  blocked.push(commit('taken'))
  await clock.advance(500)
  void commit('later')
  await commit('running', 2)
  expect(written.sort()).toEqual(['free', 'running', 'running'])
  waiting.reject(refused)
  await Promise.all(blocked)
})

test.each([
  ['hears again from an earlier run that has completed', 'completed', ['ok'], []],
  ['waits for an earlier run that is still running', 'running', [], []],
  ['begins a new run when the earlier one was compensated', 'compensated', [], ['order/x/ship#1']],
])('a step that is begun again %s', async (_title, status, told, begun) => {
  const parent = { name: 'order', id: 'x', step: 'ship', operation: 'invoke', birth: 'b' }
  const run = { name: 'ship', id: 'order/x/ship', state: { parent, status, steps: [] } }
  const next = { row: { name: 'ship', id: 'order/x/ship#1', state: { parent, status: 'running' } }, earlier: [run] }
  const reports: string[] = []
  const written: string[] = []
  const store = {
    lock: async () => {},
    load: async () => run,
    write: async (_: unknown, writes: readonly SagaWrite[]) => {
      written.push(...writes.map(({ row }) => row.id))
      return new Set(writes.keys())
    },
    post: async (_: unknown, __: unknown, mail: { readonly status: string }) => reports.push(mail.status),
  } as unknown as SagaStore
  const plan = planOf('x')
  Object.assign(plan.write, { starts: [next] })
  await writePlans({} as SqlTransaction, { store, outbox: { addEncoded: async () => {} } }, [plan])
  expect(reports).toEqual(told)
  expect(written).toEqual(['x', ...begun])
})

describe('two transitions in one batch', () => {
  it('are not reported as unwritten when the answer was lost after they were written', async () => {
    const { committer, revisions } = setup(lost, 'after')
    const ends = await Promise.allSettled([committer.commit(planOf('a')), committer.commit(planOf('b'))])
    expect([...revisions]).toEqual([
      ['a', 1],
      ['b', 1],
    ])
    expect(ends).toEqual([1, 2].map(() => ({ status: 'rejected', reason: lost })))
  })

  it('are written alone when the connection was lost before', async () => {
    const { committer } = setup(lost, 'before')
    expect(await Promise.all([committer.commit(planOf('a')), committer.commit(planOf('b'))])).toEqual([true, true])
  })

  it('come too late or not, each for itself, when the server refused the batch', async () => {
    const { committer } = setup(refused, 'before')
    expect(await Promise.all([committer.commit(planOf('a', 4)), committer.commit(planOf('b'))])).toEqual([false, true])
  })
})
