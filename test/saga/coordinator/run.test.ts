// oxlint-disable no-restricted-imports -- inside of the coordinator: a saga that an operator frees between two looks
import { silentLogger } from 'concordat/core'
import { expect, test } from 'vitest'
import { OutcomeWaiters } from '../../../saga/coordinator/outcome-waiters.ts'
import { createRun } from '../../../saga/coordinator/saga-run.ts'
import type { SagaReads } from '../../../saga/store/saga-reads.ts'
import type { ReportedSaga, SagaKey } from '../../../saga/store/store-types.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

const POLL_MS = 100
const sql = {
  query: () => Promise.reject(new Error('not asked')),
  transaction: () => Promise.reject(new Error('not asked')),
}

/** A saga that is stuck at each check of the watch, and running at each read: an operator is quicker each time. */
function setup() {
  const clock = new FakeClock()
  const reports = {
    settled: async (_: unknown, keys: readonly SagaKey[]) => {
      await clock.sleep(POLL_MS)
      return keys
    },
  } as unknown as SagaReads
  const watch = new OutcomeWaiters({ sql, reports, clock, logger: silentLogger, pollMs: POLL_MS })
  const row = { state: { status: 'running', steps: [] }, timeline: [] } as unknown as ReportedSaga
  const run = createRun({ outcomes: watch, read: async () => row, definition: () => undefined }, 'order', 'o-1')
  return { clock, watch, run }
}

test('outcome() has a single time limit, for any number of retries by an operator', async () => {
  const { clock, watch, run } = setup()
  const outcome = run.outcome({ timeoutMs: 1_000 }).catch((error: unknown) => error)
  await clock.advance(1_000)
  watch.close() // a pending waiter gets `saga.closed`
  expect(await outcome).toMatchObject({
    code: 'saga.pending',
    message: 'saga order/o-1 did not end within 1000 ms; if it was started it goes on: ask again',
  })
})
