import { type BatchContext, type Binder, createBinder, defineChannel, type Inbox, sinkBatch } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { BatchHandler, BatchSinkOptions } from '../../../support/inside/binder.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { gate } from '../../../support/until.ts'
import { NO_PAUSE } from '../../support/run.ts'
import { messageOn, ScriptedDelivery, ScriptedTransport } from '../../support/scripted-transport.ts'

interface Setup {
  readonly clock: FakeClock
  readonly transport: ScriptedTransport
  readonly binder: Binder
  readonly calls: number[][]
}

async function setup(
  options: Partial<BatchSinkOptions> & { readonly inbox?: Inbox },
  handler: BatchHandler<number, BatchContext> = () => {},
  payload: z.ZodType<number> = z.number(),
): Promise<Setup> {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const calls: number[][] = []
  const channel = defineChannel('numbers', { payload, groups: ['g'] })
  const all: object = { group: 'g', backoff: NO_PAUSE, ...options }
  const binding = sinkBatch(channel, all as BatchSinkOptions & { inbox?: undefined }, (items, context) => {
    calls.push(items.map((item) => item.payload))
    return handler(items, context)
  })
  const binder = createBinder({ service: 'test', transport, clock, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  return { clock, transport, binder, calls }
}

const deliver = ({ transport }: Setup, ...payloads: readonly unknown[]) =>
  payloads.map((payload) => transport.subscription.deliver('a', payload))
const status = ({ binder }: Setup) => binder.binding('numbers.g').status()
const ends = (deliveries: readonly ScriptedDelivery[]): unknown[] => deliveries.map(({ end }) => end)

describe('a message that does not decode', () => {
  it('lets no message of its key pass when the binding halts with it', async () => {
    const test = await setup({ batch: { maxSize: 4, maxWaitMs: 10 }, onFailure: 'halt' })
    const before = deliver(test, 0, 'text', 2)
    const other = test.transport.subscription.deliver('b', 3)
    await drain()
    expect(test.calls).toEqual([[0, 3]])
    expect(ends([...before, other])).toEqual(['acked', 'released', 'released', 'acked'])
    expect(status(test)).toMatchObject({ state: 'halted', handled: 2 })
  })

  it('blocks no message of its key when it is dead-lettered', async () => {
    const test = await setup({ batch: { maxSize: 3, maxWaitMs: 10 } })
    const deliveries = deliver(test, 0, 'text', 2)
    await drain()
    expect(test.calls).toEqual([[0, 2]])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked'])
  })
})

describe('the trial of a circuit breaker', () => {
  it('moves to the next batch when all messages of this one were withdrawn before the call', async () => {
    const decoding = gate()
    const { opened, open } = gate()
    const slow = z.number().refine(async (n) => {
      if (n !== 1) return true
      decoding.open()
      await opened
      return true
    })
    const options = { batch: { maxSize: 1 }, maxAttempts: 1, circuitBreaker: { failures: 1, pauseMs: 1_000 } }
    const test: Setup = await setup(
      options,
      () => {
        if (test.calls.length === 1) throw new Error('down')
      },
      slow,
    )
    deliver(test, 0)
    await drain()
    expect(status(test)).toMatchObject({ circuit: 'open', deadLettered: 1 })
    const loan = new AbortController()
    const taken = test.transport.subscription.deliver('a', 1, loan)
    await test.clock.advance(1_000)
    await decoding.opened
    loan.abort(new Error('moved'))
    open()
    await drain()
    expect(taken.end).toBe('released')
    deliver(test, 2)
    await drain()
    expect(test.calls).toEqual([[0], [2]])
    expect(status(test)).toMatchObject({ circuit: 'closed', state: 'running', handled: 1 })
  })
})

describe('a token of the rate limit', () => {
  const TEN = { perSecond: 10, burst: 10 }

  /** Number of messages that may begin now: a batch waits until there are as many tokens as messages. */
  async function left(test: Setup): Promise<number> {
    const before = test.calls.length
    for (let n = 0; n < 10; n++) deliver(test, 100 + n)
    let waitedMs = 0
    while (test.calls.length === before) {
      await test.clock.advance(100)
      waitedMs += 100
    }
    return 10 - waitedMs / 100
  }

  it('is taken once by a message that waits for a transaction of its own', async () => {
    const inbox: Inbox = {
      hasOutbox: false,
      process: async () => 'processed',
      processBatch: (messages, work) =>
        work(
          {} as SqlTransaction,
          messages.map((_, i) => i),
          async () => {},
        ),
    }
    const test = await setup({ batch: { maxSize: 10, maxWaitMs: 1 }, rateLimit: TEN, inbox })
    const twice = messageOn('numbers', null, 1)
    for (const offset of [0, 1])
      test.transport.subscription.receiver.deliver(new ScriptedDelivery(twice, offset, new AbortController()))
    await test.clock.advance(1)
    expect(test.calls).toEqual([[1], [1]])
    expect(await left(test)).toBe(8)
  })

  it('is taken for each further call, by every message in the batch', async () => {
    let isDown = true
    const test = await setup(
      { batch: { maxSize: 10, maxWaitMs: 1 }, rateLimit: TEN, circuitBreaker: { failures: 1, pauseMs: 1_000 } },
      () => {
        if (isDown) throw new Error('down')
      },
    )
    deliver(test, 0, 1, 2)
    await test.clock.advance(1)
    isDown = false
    await test.clock.advance(1_000)
    expect(test.calls).toEqual([[0, 1, 2], [0], [1, 2]])
    expect(await left(test)).toBe(7)
  })
})
