import {
  type Binder,
  type BinderOptions,
  createBinder,
  defineChannel,
  processor,
  type SendError,
  sink,
} from 'concordat/binder'
import { bytesCodec, silentLogger } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { MemoryBrokerOptions } from '../../support/inside/binder.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { until } from '../../support/until.ts'
import { messageOn } from '../support/scripted-transport.ts'

const KB = 1_024
const TIMEOUT_MS = 5_000
const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'], partitions: 1 })
const others = defineChannel('others', { payload: z.number(), groups: ['g'], partitions: 1 })
const blobs = defineChannel('blobs', {
  payload: z.instanceof(Uint8Array),
  codec: bytesCodec,
  groups: ['g'],
  partitions: 1,
})
const blob = (kilobytes: number) => new Uint8Array(kilobytes * KB)
const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

function collect() {
  const got: number[] = []
  return { got, binding: sink(numbers, { group: 'g' }, (n) => void got.push(n)) }
}

async function setup(limits: MemoryBrokerOptions, options: Partial<BinderOptions> = {}) {
  const clock = new FakeClock()
  const broker = memoryBroker(limits)
  const transport = memoryTransport({ broker })
  const binder = createBinder({
    service: 'test',
    transport,
    clock,
    sends: [numbers, others, blobs],
    sendTimeoutMs: TIMEOUT_MS,
    ...options,
  })
  onTestFinished(async () => {
    broker.interrupt()
    await binder.close()
  })
  await binder.start()
  return { clock, broker, binder }
}

/** Sends one after the other until one waits. @returns how many were confirmed */
async function sendUntilItWaits(binder: Binder, size: Uint8Array<ArrayBuffer>, most = 100): Promise<number> {
  let confirmed = 0
  void (async () => {
    while (confirmed < most) {
      await binder.send(blobs, size)
      confirmed++
    }
  })().catch(() => {})
  for (let before = -1; before !== confirmed; ) {
    before = confirmed
    await drain()
  }
  return confirmed
}

describe('the backlog of a memory broker', () => {
  it('is bounded in bytes: a sender waits, and continues when the group has caught up', async () => {
    const handled: number[] = []
    const hold = Promise.withResolvers<void>()
    const slow = sink(blobs, { group: 'g', prefetch: 2 }, async ({ byteLength }) => {
      await hold.promise
      handled.push(byteLength)
    })
    const { binder } = await setup({ maxBacklogBytes: 64 * KB }, { bindings: [slow] })
    expect(await sendUntilItWaits(binder, blob(10))).toBe(7)
    expect(await binder.lag('blobs.g')).toBe(7)
    hold.resolve()
    await until('all were handled', () => handled.length === 100)
  })

  it('is bounded in messages, the same way', async () => {
    const { binder } = await setup({ maxBacklog: 5, retainMessages: 0 })
    expect(await sendUntilItWaits(binder, blob(0))).toBe(5)
  })

  it('drops settled, retained messages before a sender waits', async () => {
    const handled: number[] = []
    const fast = sink(blobs, { group: 'g' }, ({ byteLength }) => void handled.push(byteLength))
    const { binder } = await setup({ maxBacklogBytes: 64 * KB, retainMessages: 1_000 }, { bindings: [fast] })
    expect(await sendUntilItWaits(binder, blob(10), 500)).toBe(500)
    expect(handled).toHaveLength(500)
  })

  it('is an option like others', () => {
    expect(() => memoryBroker({ maxBacklogBytes: 0 })).toThrow(
      'memoryBroker.maxBacklogBytes: expected a whole number >= 1',
    )
  })

  it('takes a message that is larger than the bound', async () => {
    const handled: number[] = []
    const fast = sink(blobs, { group: 'g' }, ({ byteLength }) => void handled.push(byteLength))
    const { binder } = await setup({ maxBacklogBytes: KB }, { bindings: [fast] })
    for (const _ of range(5)) await binder.send(blobs, blob(100))
    await until('all were handled', () => handled.length === 5)
  })

  it('counts keys and headers', async () => {
    const { binder } = await setup({ maxBacklogBytes: 10 * KB })
    const headers = { pad: 'x'.repeat(4 * KB) }
    for (const n of range(3)) await binder.send(numbers, n, { headers })
    const waits = binder.send(numbers, 3, { headers })
    expect(await Promise.race([waits, drain().then(() => 'it waits')])).toBe('it waits')
    waits.catch(() => {})
  })

  it('a full backlog without a reader fails a send in time, as refused, and nothing of it arrives', async () => {
    const { binder, broker, clock } = await setup({ maxBacklog: 3 })
    await binder.sendBatch(numbers, [0, 1, 2])
    const failing = binder.send(numbers, 3).catch((error: unknown) => error)
    await clock.advance(TIMEOUT_MS)
    const error = (await failing) as SendError
    expect(error).toMatchObject({ code: 'binder.send', retryable: true, cause: { kind: 'refused' } })
    expect(String((error.cause as Error).message)).toMatch(
      /partition 0 of "numbers" is full \(3 messages, \d+ bytes\).*raise `maxBacklog` or `maxBacklogBytes`/,
    )
    const { got, binding } = collect()
    const reader = createBinder({ service: 'reader', transport: memoryTransport({ broker }), bindings: [binding] })
    onTestFinished(() => reader.close())
    await reader.start()
    await reader.send(numbers, 4)
    await until('the last one came', () => got.includes(4))
    expect(got).toEqual([0, 1, 2, 4])
  })

  it('keeps the order of waiting messages, and of one that comes when there is space again', async () => {
    const got: number[] = []
    const gates = range(40).map(() => Promise.withResolvers<void>())
    const slow = sink(numbers, { group: 'g', prefetch: 1 }, async (n) => {
      await gates[n]?.promise
      got.push(n)
    })
    const { binder } = await setup({ maxBacklog: 2 }, { bindings: [slow] })
    const sends = range(20).map((n) => binder.send(numbers, n))
    await drain()
    for (const n of range(40)) {
      if (n < 20) sends.push(binder.send(numbers, n + 20))
      gates[n]?.resolve()
      await drain()
    }
    await Promise.all(sends)
    await until('all were handled', () => got.length === 40)
    expect(got).toEqual(range(40))
  })

  it('ends a wait when the broker fails or the transport closes', async () => {
    const { binder, broker } = await setup({ maxBacklog: 1 })
    await binder.send(numbers, 0)
    const first = binder.send(numbers, 1).catch((error: SendError) => error.cause)
    await drain()
    broker.interrupt()
    expect(await first).toMatchObject({ kind: 'unavailable' })
    broker.recover()
    const raw = memoryTransport({ broker })
    raw.attach({
      service: 'raw',
      instance: 'raw',
      logger: silentLogger,
      clock: new FakeClock(),
    })
    const second = raw.publish([messageOn('numbers', null, 2)])
    await drain()
    await raw.close()
    expect(await second).toMatchObject([{ kind: 'closed' }])
  })

  it('bounds delayed messages, and refuses more at once', async () => {
    const { binder, clock } = await setup({ maxBacklog: 2 })
    await binder.send(numbers, 0, { delayMs: 1_000 })
    await binder.send(numbers, 1, { delayMs: 1_000 })
    await expect(binder.send(numbers, 2, { delayMs: 1_000 })).rejects.toMatchObject({ cause: { kind: 'refused' } })
    await clock.advance(1_000)
    await binder.send(numbers, 3, { delayMs: 1_000 })
  })
})

describe('a full memory broker', () => {
  it('does not hold up what its reader sends elsewhere', async () => {
    const got: number[] = []
    const bindings = [
      processor(numbers, others, { group: 'g' }, (n) => n),
      sink(others, { group: 'g' }, (n) => void got.push(n)),
    ]
    const { binder } = await setup({ maxBacklog: 3 }, { bindings, maxInFlight: 10 })
    // Far more than the window: all of it waits for the processor, whose outputs go the same way.
    await binder.sendBatch(numbers, range(500))
    await until('all were handled', () => got.length === 500)
    expect(got).toEqual(range(500))
  })

  it('accepts in time what a running reader may be waiting for: a processor that feeds itself continues', async () => {
    let handled = 0
    const loop = processor(numbers, numbers, { group: 'g' }, (n) => {
      handled++
      return n === 0 ? undefined : n - 1
    })
    const { binder, clock } = await setup({ maxBacklog: 3 }, { bindings: [loop] })
    const sending = binder.sendBatch(numbers, [5, 5, 5, 5, 5])
    for (let turn = 0; turn < 60 && handled < 30; turn++) await clock.advance(TIMEOUT_MS)
    expect(handled).toBe(30)
    await sending
  })

  it('fails a handler that sends more to its own input than it settles, by its attempts, and continues', async () => {
    const failures: unknown[] = []
    const flood = sink(numbers, { group: 'g', maxAttempts: 1 }, async (n) => {
      if (n > 0) return
      await binder
        .sendBatch(
          numbers,
          range(20).map(() => 1),
        )
        .catch((error: unknown) => {
          failures.push(error)
          throw error
        })
    })
    const { binder, clock } = await setup({ maxBacklog: 4 }, { bindings: [flood] })
    await binder.send(numbers, 0)
    for (let turn = 0; turn < 10 && failures.length === 0; turn++) await clock.advance(TIMEOUT_MS)
    expect(failures).toMatchObject([{ code: 'binder.send', retryable: true, cause: { kind: 'refused' } }])
    const status = () => binder.binding('numbers.g').status()
    await until('the rest was handled', () => status().deadLettered === 1 && status().running === 0)
    expect(await binder.lag('numbers.g')).toBe(0)
  })

  it('accepts at most twice its bound, with any number of consumers', async () => {
    const hold = Promise.withResolvers<void>()
    const { binder, clock } = await setup(
      { maxBacklog: 4 },
      { bindings: [sink(numbers, { group: 'g' }, () => hold.promise)] },
    )
    const outcomes = Promise.allSettled(range(20).map((n) => binder.send(numbers, n)))
    await clock.advance(TIMEOUT_MS)
    expect((await outcomes).filter(({ status }) => status === 'fulfilled')).toHaveLength(8)
    hold.resolve()
  })
})
