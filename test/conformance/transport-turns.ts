/**
 * Handlers that never wait for I/O. Between two of their calls the event loop gets a turn every few milliseconds: heartbeats,
 * acknowledgements, other requests of the process and signals depend on it.
 */
import { sink, sinkBatch } from 'concordat/binder'
import { describe, it } from 'vitest'
import { watchTurns } from '../support/turns.ts'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { createTestChannel, NO_PAUSE, started, type TestChannel } from './transport-kit.ts'

const BACKLOG = 60
/** A timer that falls due just after a call has begun waits for that one and the next. */
const MOST_CALLS_PER_TURN = 3

type Handle = (n: number) => void

const bindings: Readonly<
  Record<string, (channel: TestChannel, handle: Handle) => ReturnType<typeof sink | typeof sinkBatch>>
> = {
  'one by one': (channel, handle) => sink(channel, { group: 'g', backoff: NO_PAUSE }, ({ n }) => handle(n)),
  'as promises that have settled': (channel, handle) =>
    sink(channel, { group: 'g', backoff: NO_PAUSE }, async ({ n }) => {
      await Promise.resolve()
      handle(n)
    }),
  'of several keys at once': (channel, handle) =>
    sink(channel, { group: 'g', concurrency: 8, backoff: NO_PAUSE }, ({ n }) => handle(n)),
  'in batches': (channel, handle) =>
    sinkBatch(channel, { group: 'g', batch: { maxSize: 1, maxWaitMs: 1 }, backoff: NO_PAUSE }, ([item]) => {
      if (item !== undefined) handle(item.payload.n)
    }),
}

export function turnCases(context: CaseContext): void {
  describe('handlers that never wait for I/O', () => {
    it.each(Object.keys(bindings))('leave the event loop its turns when messages are handled %s', async (how) => {
      await check(context, how)
    })

    it('let the event loop turn when each message fails, is retried without a pause and becomes a dead letter', async () => {
      await check(context, 'one by one', () => {
        throw new Error('never')
      })
    })
  })
}

async function check(context: CaseContext, how: string, fail: Handle = () => {}): Promise<void> {
  const { expect } = await import('vitest')
  const channel = createTestChannel(context.freshName())
  const sender = await started(context.transport(), { bindings: [] })
  await sender.sendBatch(
    channel,
    Array.from({ length: BACKLOG }, (_, n) => ({ key: `k${n % 5}`, n })),
  )
  const turns = watchTurns()
  const seen = new Set<number>()
  const binding = bindings[how]?.(channel, (n) => {
    turns.call()
    seen.add(n)
    fail(n)
  })
  if (binding === undefined) throw new Error(`no binding ${how}`)
  const binder = await started(context.transport(), { bindings: [binding] })
  const status = () => binder.binding(`${channel.name}.g`).status()
  await until('all were settled', () => status().handled + status().deadLettered === BACKLOG)
  expect(seen.size).toBe(BACKLOG)
  expect(turns.most()).toBeLessThanOrEqual(MOST_CALLS_PER_TURN)
}
