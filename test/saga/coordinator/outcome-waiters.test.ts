// oxlint-disable no-restricted-imports -- inside of the coordinator: through it the turns of the event loop are not ours
import { type Clock, silentLogger, systemClock } from 'concordat/core'
import { expect, test } from 'vitest'
import { OutcomeWaiters } from '../../../saga/coordinator/outcome-waiters.ts'
import type { SagaReads } from '../../../saga/store/saga-reads.ts'
import type { SagaKey, StandingSaga } from '../../../saga/store/store-types.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

/** A watch over sagas that have all ended, as another instance wrote it. */
function setup(
  standing = async (keys: readonly SagaKey[]) => keys.map(ended),
  clock: Clock = systemClock,
): OutcomeWaiters {
  const reports = { standing: (_sql: unknown, keys: readonly SagaKey[]) => standing(keys) } as unknown as SagaReads
  const sql = {
    query: () => Promise.reject(new Error('not asked')),
    transaction: () => Promise.reject(new Error('not asked')),
  }
  return new OutcomeWaiters({ sql, reports, clock, logger: silentLogger, pollMs: 10 })
}

function ended(key: SagaKey): StandingSaga {
  return { ...key, isEndedOrStuck: true }
}

test.concurrent.each(Array.from({ length: 12 }, (_, turns) => turns))(
  'a watch sees the end for a caller that begins to wait %i turns after the last one left',
  async (turns) => {
    const watch = setup()
    await watch.wait({ name: 'saga', id: 'first' })
    for (let i = 0; i < turns; i++) await Promise.resolve()
    await expect(
      watch.wait({ name: 'saga', id: 'second' }, watch.patience({ timeoutMs: 500 })),
    ).resolves.toBeUndefined()
    watch.close()
  },
)

test('a saga that the database cannot read is rejected, and hides no other', async () => {
  const untranslatable = Object.assign(new Error('character has no equivalent'), { code: '22P05' })
  const watch = setup(async (keys) => {
    if (keys.some(({ id }) => id === 'bad')) throw untranslatable
    return keys.map(ended)
  })
  const wait = (id: string) => watch.wait({ name: 'saga', id }, watch.patience({ timeoutMs: 5_000 }))
  const [bad, good] = await Promise.allSettled([wait('bad'), wait('good')])
  expect(bad).toEqual({ status: 'rejected', reason: untranslatable })
  expect(good.status).toBe('fulfilled')
  watch.close()
})

test('a watch rejects after half a minute without a saga of this id', async () => {
  const clock = new FakeClock()
  const watch = setup(async () => [], clock)
  const outcome = settledState(watch.wait({ name: 'saga', id: 'never' }))
  await clock.advance(29_000)
  expect(outcome.state).toBe('pending')
  await clock.advance(1_500)
  expect(outcome.state).toMatchObject({ code: 'saga.not_found' })
  watch.close()
})

test('a saga that begins later is awaited, and so is one that is seen once in a while', async () => {
  const clock = new FakeClock()
  let found: readonly StandingSaga[] = []
  const watch = setup(async () => [...found], clock)
  const outcome = settledState(watch.wait({ name: 'saga', id: 'late' }))
  await clock.advance(25_000)
  found = [{ name: 'saga', id: 'late', isEndedOrStuck: false }]
  await clock.advance(60_000)
  found = []
  await clock.advance(25_000)
  expect(outcome.state).toBe('pending')
  found = [ended({ name: 'saga', id: 'late' })]
  await clock.advance(1_000)
  expect(outcome.state).toBe('resolved')
  watch.close()
})

test('a database that does not answer does not extend the time of a missing saga', async () => {
  const clock = new FakeClock()
  let isAway = true
  const watch = setup(async () => {
    if (isAway) throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
    return []
  }, clock)
  const outcome = settledState(watch.wait({ name: 'saga', id: 'never' }))
  await clock.advance(60_000)
  isAway = false
  await clock.advance(29_000)
  expect(outcome.state).toBe('pending')
  await clock.advance(2_000)
  expect(outcome.state).toMatchObject({ code: 'saga.not_found' })
  watch.close()
})

test('timeoutMs limits the wait for a saga that has not begun', async () => {
  const clock = new FakeClock()
  const watch = setup(async () => [], clock)
  const wait = (timeoutMs: number) =>
    settledState(watch.wait({ name: 'saga', id: 'never' }, watch.patience({ timeoutMs })))
  const [minute, forEver] = [wait(60_000), wait(Number.POSITIVE_INFINITY)]
  await clock.advance(59_000)
  expect(minute.state).toBe('pending')
  await clock.advance(2_000)
  expect(minute.state).toMatchObject({ code: 'saga.pending' })
  expect(forEver.state).toBe('pending')
  watch.close()
})

function settledState(wait: Promise<void>): { state: unknown } {
  const seen: { state: unknown } = { state: 'pending' }
  wait.then(
    () => (seen.state = 'resolved'),
    (error: unknown) => (seen.state = error),
  )
  return seen
}
