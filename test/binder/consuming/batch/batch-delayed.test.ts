import {
  type BatchContext,
  type Binder,
  createBinder,
  defineChannel,
  type EncodedMessage,
  failed,
  ok,
  sinkBatch,
  TransportError,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { BatchHandler, BatchSinkOptions } from '../../../support/inside/binder.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { until } from '../../../support/until.ts'
import { keeper, running } from '../../support/run.ts'
import {
  messageOn,
  ScriptedDelivery,
  type ScriptedSubscription,
  ScriptedTransport,
} from '../../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const SECOND_EACH = { initialMs: 1_000, maxMs: 1_000, jitter: 0 }

interface Setup {
  readonly clock: FakeClock
  readonly transport: ScriptedTransport
  readonly binder: Binder
  /** The payloads of each call, with their attempts. */
  readonly calls: string[][]
  /** Subscription of the channel. */
  readonly line: ScriptedSubscription
  /** Subscription of the retry queue. */
  readonly retries: ScriptedSubscription
}

async function setup(
  handler: BatchHandler<number, BatchContext>,
  options: Partial<BatchSinkOptions> = {},
): Promise<Setup> {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const calls: string[][] = []
  const binding = sinkBatch(
    channel,
    {
      group: 'g',
      retry: 'delayed',
      backoff: SECOND_EACH,
      batch: { maxSize: 3, maxWaitMs: 10 },
      ...options,
      inbox: undefined,
    },
    (items, context) => {
      calls.push(items.map(({ payload, context: { attempt } }) => `${payload}/${attempt}`))
      return handler(items, context)
    },
  )
  const binder = createBinder({ service: 'test', transport, clock, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  const [retries, line] = transport.subscriptions
  if (retries === undefined || line === undefined) throw new Error('it reads the channel and its retries')
  return { clock, transport, binder, calls, line, retries }
}

const status = ({ binder }: Setup) => binder.binding('numbers.g').status()
const copies = ({ transport }: Setup): EncodedMessage[] =>
  transport.published.flat().filter(({ destination }) => destination === 'numbers.g.retry')

/** A copy comes back. */
function bringBack({ retries }: Setup, copy: EncodedMessage | undefined, offset: number): ScriptedDelivery {
  const delivery = new ScriptedDelivery(copy ?? messageOn('numbers.g.retry', null, 0), offset, new AbortController())
  retries.receiver.deliver(delivery)
  return delivery
}

describe('delayed retry of a batch', () => {
  it('sends the failed message to the retry queue, and settles it and the others', async () => {
    const test = await setup((items) => items.map(({ payload }) => (payload === 1 ? failed(new Error('not yet')) : ok)))
    const deliveries = [0, 1, 2].map((n) => test.line.deliver('a', n))
    await drain()
    expect(test.calls).toEqual([['0/1', '1/1', '2/1']])
    expect(deliveries.map(({ end }) => end)).toEqual(['acked', 'acked', 'acked'])
    expect(copies(test)).toMatchObject([
      { id: deliveries[1]?.message.id, key: 'a', notBefore: test.clock.now() + 1_000 },
    ])
    expect(status(test)).toMatchObject({ handled: 2, retried: 1, deadLettered: 0, running: 0 })
    expect(test.binder.describe().destinations.map(({ name, role }) => [name, role])).toContainEqual([
      'numbers.g.retry',
      'retries',
    ])
  })

  it('continues the count in the batch of the copy, and dead-letters it in the end', async () => {
    const test = await setup((items) => items.map(({ payload }) => (payload === 1 ? failed(new Error('never')) : ok)))
    test.line.deliver(null, 1)
    await test.clock.advance(10)
    bringBack(test, copies(test)[0], 0)
    test.line.deliver(null, 5)
    await test.clock.advance(10)
    bringBack(test, copies(test)[1], 1)
    await test.clock.advance(10)
    expect(test.calls).toEqual([['1/1'], ['1/2', '5/1'], ['1/3']])
    const letters = test.transport.published.flat().filter(({ destination }) => destination.endsWith('.dlq'))
    expect(letters).toMatchObject([{ headers: { 'dead-letter-attempts': 3, 'dead-letter-channel': 'numbers' } }])
    expect(status(test)).toMatchObject({ handled: 1, retried: 2, deadLettered: 1 })
  })

  it('sends each message of a throwing batch to the retry queue once it has failed alone', async () => {
    const test = await setup(() => {
      throw new Error('away')
    })
    const deliveries = [0, 1, 2].map((n) => test.line.deliver('a', n))
    await test.clock.advance(60_000)
    expect(
      copies(test)
        .map(({ body }) => Buffer.from(body ?? []).toString())
        .toSorted(),
    ).toEqual(['0', '1', '2'])
    expect(deliveries.every(({ end }) => end === 'acked')).toBe(true)
  })

  it('dead-letters undecodable messages, with their attempts', async () => {
    const test = await setup(() => {})
    const wrong = { ...messageOn('numbers.g.retry', null, 'text'), headers: { 'concordat-retry-attempts': 2 } }
    const delivery = bringBack(test, wrong, 0)
    await test.clock.advance(10)
    expect(delivery.end).toBe('acked')
    expect(test.transport.published.flat()).toMatchObject([{ headers: { 'dead-letter-attempts': 2 } }])
  })

  it('does not settle a message with an unconfirmed copy, and settles the others at once', async () => {
    const test = await setup((items) => items.map(({ payload }) => (payload === 1 ? failed(new Error('x')) : ok)))
    test.transport.onPublish = async (messages) =>
      messages.map(() => new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'no answer' }))
    const deliveries = [0, 1, 2].map((n) => test.line.deliver('a', n))
    await drain()
    expect(deliveries.map(({ end }) => end)).toEqual(['acked', undefined, 'acked'])
    test.transport.onPublish = async (messages) => messages.map(() => undefined)
    await test.clock.advance(5_000)
    expect(deliveries[1]?.end).toBe('acked')
  })

  it('retries a message in place when the broker refused its copy, and no other message', async () => {
    const test = await setup((items) =>
      items.map(({ payload, context }) => (payload === 0 && context.attempt === 1 ? failed(new Error('x')) : ok)),
    )
    test.transport.onPublish = async (messages) =>
      messages.map(() => new TransportError({ transport: 'scripted', kind: 'too_large', message: 'too large' }))
    const deliveries = [0, 1, 2].map((n) => test.line.deliver('a', n))
    await drain()
    expect(deliveries.map(({ end }) => end)).toEqual([undefined, 'acked', 'acked'])
    await test.clock.advance(1_000)
    expect(test.calls).toEqual([['0/1', '1/1', '2/1'], ['0/2']])
    expect(deliveries[0]?.end).toBe('acked')
  })

  it('delivers the copy on a transport, beside later messages', async () => {
    const { got, binding } = keeper(defineChannel('numbers.g.dlq', { payload: z.number(), partitions: 1 }), 'redrive')
    const seen: string[] = []
    const flaky = sinkBatch(
      channel,
      { group: 'g', retry: 'delayed', backoff: { initialMs: 5, maxMs: 5 }, batch: { maxSize: 4, maxWaitMs: 5 } },
      (items) =>
        items.map(({ payload, context: { attempt } }) => {
          seen.push(`${payload}/${attempt}`)
          return payload === 0 || (payload === 1 && attempt === 1) ? failed(new Error('x')) : ok
        }),
    )
    const binder = await running({ transport: memoryTransport(), bindings: [flaky, binding] })
    await binder.sendBatch(channel, [0, 1, 2, 3])
    await until('all ended', () => binder.binding('numbers.g').status().handled === 3 && got.length === 1)
    expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual(['0/1', '0/2', '0/3', '1/1', '1/2', '2/1', '3/1'])
    expect(binder.binding('numbers.g').status()).toMatchObject({ retried: 3, deadLettered: 1 })
  })
})
