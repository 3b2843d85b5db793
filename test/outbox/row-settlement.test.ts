// oxlint-disable no-restricted-imports -- inside of the outbox: how long a refusal counts
import { TransportError } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { expect, test } from 'vitest'
import type { OutagePauses } from '../../outbox/outage-pauses.ts'
import type { PartitionContext } from '../../outbox/partition-relay-context.ts'
import type { WindowRow } from '../../outbox/publish-window.ts'
import { RowSettlement } from '../../outbox/row-settlement.ts'
import type { TransportErrorKind } from '../support/inside/binder.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

const row = {
  seq: '1',
  message: { id: 'm1', destination: 'full', key: 'k' },
  attempts: 0,
  strikes: 0,
} as unknown as WindowRow
const errorOf = (kind: TransportErrorKind) =>
  new TransportError({ transport: 'memory', kind, message: 'the queue is full' })

/** Settles a row that failed so, with pauses of two seconds. */
async function failed(kind: TransportErrorKind, maxAttempts = 1) {
  const clock = new FakeClock()
  const backoff = { initialMs: 2_000, factor: 1, maxMs: 2_000, jitter: 0 }
  const options = { backoff, maxAttempts, clock, logger: silentLogger }
  const table = { hold: async () => true, confirm: async () => true }
  const context = { options, table, onParked: () => {} } as unknown as PartitionContext
  const settlement = new RowSettlement(context, { goesOn: true } as unknown as OutagePauses)
  const error = errorOf(kind)
  await settlement.settle({ confirmed: [], failed: [{ row, error }], rest: [] }, new Map())
  return { clock, settlement, error }
}

test('a destination that refuses for now is refused until its row was due again for five seconds', async () => {
  const { clock, settlement, error } = await failed('refused')
  await clock.advance(6_999)
  expect(settlement.refused).toBe(error)
  await clock.advance(1)
  expect(settlement.refused).toBeUndefined()
})

test('a destination that took a row meanwhile is not refused any more', async () => {
  const { settlement } = await failed('refused')
  await settlement.settle({ confirmed: [row], failed: [], rest: [] }, new Map())
  expect(settlement.refused).toBeUndefined()
})

test.each([
  ['is tried again', 'unroutable', 2],
  ['is parked after its last attempt', 'unroutable', 1],
  ['is parked at once', 'too_large', 2],
] as const)(
  'a row that the broker never takes and that %s leaves its destination open',
  async (_, kind, maxAttempts) => {
    expect((await failed(kind, maxAttempts)).settlement.refused).toBeUndefined()
  },
)
