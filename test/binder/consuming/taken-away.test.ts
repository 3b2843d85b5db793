import {
  type ConsumerBinding,
  createBinder,
  defineChannel,
  type EncodedMessage,
  type Inbox,
  processor,
  sink,
  sinkBatch,
  TransportError,
} from 'concordat/binder'
import { MINUTE, type SqlTransaction, silentLogger } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { fromAmqp } from '../../../binder/rabbitmq/wire/envelope.ts'
import { gate, until } from '../../support/until.ts'
import { messageOn, ScriptedDelivery, ScriptedTransport } from '../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })

/** Starts a binder with this binding of the group `g`. */
async function started(binding: ReturnType<typeof sinkBatch> | ReturnType<typeof sink>) {
  const transport = new ScriptedTransport()
  const binder = createBinder({ service: 's', transport, bindings: [binding], logger: silentLogger })
  onTestFinished(() => binder.close())
  await binder.start()
  return { transport, status: () => binder.binding('numbers.g').status() }
}

/** Delivers one message and withdraws its loan while its handler runs, up to 5 times. */
async function takeAwayAgainAndAgain(
  newBinding: (handle: (attempt: number) => Promise<void>) => ReturnType<typeof sinkBatch> | ReturnType<typeof sink>,
  again: (message: EncodedMessage) => EncodedMessage = (message) => message,
) {
  let ran = gate()
  const attempts: number[] = []
  const binding = newBinding(async (attempt) => {
    attempts.push(attempt)
    await ran.opened
  })
  const { transport, status } = await started(binding)
  const message = messageOn('numbers', 'k', 0)
  for (let n = 1; n <= 5 && status().deadLettered === 0; n++) {
    ran = gate()
    const loan = new AbortController()
    transport.subscription.receiver.deliver(new ScriptedDelivery(again(message), 0, loan))
    await until('it was called, or is a dead letter', () => attempts.length === n || status().deadLettered === 1)
    loan.abort(new Error('lost'))
    ran.open()
    await until('it came to its end', () => status().running === 0)
  }
  return { attempts, status: status() }
}

it('a message that is withdrawn from its running handler repeatedly counts as an attempt from the second time on', async () => {
  const { attempts, status } = await takeAwayAgainAndAgain((handle) =>
    sink(channel, { group: 'g', maxAttempts: 3 }, (_, { attempt }) => handle(attempt)),
  )
  expect(attempts).toEqual([1, 1, 2, 3])
  expect(status).toMatchObject({ handled: 0, deadLettered: 1 })
})

it('a message without an id that is withdrawn from its running handler counts its attempts, too', async () => {
  const amqp = {
    content: Buffer.from('7'),
    fields: { deliveryTag: 1, redelivered: false },
    properties: { headers: {} },
  }
  const { attempts, status } = await takeAwayAgainAndAgain(
    (handle) => sink(channel, { group: 'g', maxAttempts: 3 }, (_, { attempt }) => handle(attempt)),
    () => ({ ...fromAmqp(amqp, 'numbers', 0), contentType: 'application/json' }),
  )
  expect(attempts).toEqual([1, 1, 2, 3])
  expect(status).toMatchObject({ handled: 0, deadLettered: 1 })
})

it('a batch message that is withdrawn from its running handler counts its attempts as a single one does', async () => {
  const { attempts, status } = await takeAwayAgainAndAgain((handle) =>
    sinkBatch(channel, { group: 'g', maxAttempts: 3, batch: { maxSize: 10, maxWaitMs: 1 } }, ([item]) =>
      handle(item?.context.attempt ?? 0),
    ),
  )
  expect(attempts).toEqual([1, 1, 2, 3])
  expect(status).toMatchObject({ handled: 0, deadLettered: 1 })
})

it('a message that blocks its batch repeatedly is the only one that becomes a dead letter', async () => {
  const transport = new ScriptedTransport()
  const calls: number[][] = []
  let loan = new AbortController()
  const binding = sinkBatch(channel, { group: 'g', maxAttempts: 3, batch: { maxSize: 3, maxWaitMs: 50 } }, (items) => {
    const payloads = items.map(({ payload }) => payload)
    calls.push(payloads)
    if (payloads.includes(2)) loan.abort(new Error('lost'))
  })
  const binder = createBinder({ service: 's', transport, bindings: [binding], logger: silentLogger })
  onTestFinished(() => binder.close())
  await binder.start()
  let left = [1, 2, 3].map((n) => messageOn('numbers', null, n))
  for (let n = 0; n < 10 && left.length > 0; n++) {
    loan = new AbortController()
    const deliveries = left.map((message, at) => new ScriptedDelivery(message, at, loan))
    for (const delivery of deliveries) transport.subscription.receiver.deliver(delivery)
    await until('each has come to its end', () => deliveries.every(({ end }) => end !== undefined))
    left = left.filter((_, at) => deliveries[at]?.end !== 'acked')
  }
  expect(calls).toEqual([[1, 2, 3], [1, 2, 3], [1], [2], [2], [2], [3]])
  expect(binder.binding('numbers.g').status()).toMatchObject({ handled: 2, deadLettered: 1 })
})

it.each([
  [
    'sink',
    (call: (attempt: number) => never) =>
      sink(channel, { group: 'g', maxAttempts: 3, backoff: { initialMs: MINUTE } }, (_, { attempt }) => call(attempt)),
  ],
  [
    'sinkBatch',
    (call: (attempt: number) => never) =>
      sinkBatch(
        channel,
        { group: 'g', maxAttempts: 3, backoff: { initialMs: MINUTE }, batch: { maxSize: 1, maxWaitMs: 1 } },
        ([item]) => call(item?.context.attempt ?? 0),
      ),
  ],
] as const)(
  'a message that loses its place in each pause between attempts becomes a dead letter in the end (%s)',
  async (_, make) => {
    const attempts: number[] = []
    const binding = make((attempt) => {
      attempts.push(attempt)
      return fails()
    })
    const { transport, status } = await started(binding)
    const message = messageOn('numbers', 'k', 0)
    for (let n = 1; n <= 5 && status().deadLettered === 0; n++) {
      const loan = new AbortController()
      const delivery = new ScriptedDelivery(message, 0, loan)
      transport.subscription.receiver.deliver(delivery)
      await until('it was called, or is a dead letter', () => attempts.length === n || delivery.end !== undefined)
      await new Promise(setImmediate)
      loan.abort(new Error('consumer_timeout'))
      await until('it came to its end', () => delivery.end !== undefined)
    }
    expect(attempts).toEqual([1, 2, 3])
    expect(status()).toMatchObject({ handled: 0, deadLettered: 1 })
  },
)

const output = defineChannel('results', { payload: z.number(), groups: ['g'] })
const fails = (): never => {
  throw new Error('the service is away')
}

/** Waits during which a message can lose its assignment; the handler has already returned. */
const WAITS: Readonly<Record<string, (called: () => void) => ConsumerBinding>> = {
  'the circuit breaker': (called) =>
    sink(
      channel,
      {
        group: 'g',
        maxAttempts: 3,
        backoff: { initialMs: 0 },
        circuitBreaker: { failures: 1, pauseMs: MINUTE },
      },
      () => {
        called()
        fails()
      },
    ),
  'the broker to take its output': (called) =>
    processor(channel, output, { group: 'g', maxAttempts: 3 }, (n) => {
      called()
      return n
    }),
}

describe('a message that waits for', () => {
  it.each(Object.keys(WAITS))('%s when its place is lost uses up no attempt', async (wait) => {
    const transport = new ScriptedTransport()
    const away = new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'away' })
    transport.onPublish = async (messages) =>
      messages.map(({ destination }) => (destination === 'results' ? away : undefined))
    let calls = 0
    const binding = (WAITS[wait] as (called: () => void) => ConsumerBinding)(() => void calls++)
    const binder = createBinder({ service: 's', transport, bindings: [binding], logger: silentLogger })
    onTestFinished(() => binder.close())
    await binder.start()
    const handle = binder.binding('numbers.g')
    const message = messageOn('numbers', 'k', 0)
    for (let n = 1; n <= 6; n++) {
      const loan = new AbortController()
      const delivery = new ScriptedDelivery(message, 0, loan)
      transport.subscription.receiver.deliver(delivery)
      await until('it was called', () => calls === n || delivery.end !== undefined)
      await new Promise(setImmediate)
      loan.abort(new Error('lost'))
      await until('it came to its end', () => delivery.end !== undefined)
      expect(delivery.end).toBe('released')
      // Closes the circuit.
      await handle.stop()
      await handle.start()
    }
    expect(calls).toBe(6)
    expect(handle.status()).toMatchObject({ deadLettered: 0 })
  })
})

it.each([
  ['sink', (inbox: Inbox, call: () => void) => sink(channel, { group: 'g', inbox }, call)],
  [
    'sinkBatch',
    (inbox: Inbox, call: () => void) =>
      sinkBatch(channel, { group: 'g', inbox, batch: { maxSize: 2, maxWaitMs: 1 } }, call),
  ],
] as const)(
  'nothing begins for a message that was withdrawn while its transaction was waited for (%s)',
  async (_, make) => {
    const [asked, begun] = [gate(), gate()]
    let calls = 0
    const tx = {} as SqlTransaction
    const lateOf = async (work: () => Promise<void>): Promise<'processed'> => {
      asked.open()
      await begun.opened
      await work()
      return 'processed'
    }
    const inbox = {
      hasOutbox: false,
      process: (_message: unknown, work: (tx: SqlTransaction, emit: unknown) => Promise<void>) =>
        lateOf(() => work(tx, undefined)),
      processBatch: (
        messages: readonly unknown[],
        work: (tx: SqlTransaction, fresh: readonly number[], emit: unknown) => Promise<void>,
      ) => lateOf(() => work(tx, [...messages.keys()], undefined)),
    } as unknown as Inbox
    const transport = new ScriptedTransport()
    const binder = createBinder({
      service: 's',
      transport,
      bindings: [make(inbox, () => void calls++)],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const loan = new AbortController()
    transport.subscription.receiver.deliver(new ScriptedDelivery(messageOn('numbers', 'k', 0), 0, loan))
    await asked.opened
    loan.abort(new Error('lost'))
    begun.open()
    await until('it came to its end', () => binder.binding('numbers.g').status().running === 0)
    expect(calls).toBe(0)
  },
)
