import { combineTransports, createBinder, defineChannel, processor, redrive, sink } from 'concordat/binder'
import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { type MemoryBroker, memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { transportConformance } from '../../conformance/transport.ts'
import { until } from '../../support/until.ts'
import { keeper, NO_PAUSE, running } from '../support/run.ts'
import { messageOn, ScriptedTransport } from '../support/scripted-transport.ts'

/** Odd and even destinations of the suite lie apart. */
transportConformance('two memory transports', async () => {
  const brokers = [memoryBroker(), memoryBroker()] as const
  return {
    transport: () =>
      combineTransports({
        transports: { left: memoryTransport({ broker: brokers[0] }), right: memoryTransport({ broker: brokers[1] }) },
        of: (destination) => ((destination.codePointAt(4) ?? 0) % 2 === 0 ? 'left' : 'right'),
      }),
    broker: {
      kill: async () => brokers.forEach((broker) => broker.interrupt()),
      restart: async () => brokers.forEach((broker) => broker.recover()),
    },
    close: async () => {},
  }
})

const numbers = defineChannel('numbers', { payload: z.number() })
const doubled = defineChannel('doubled', { payload: z.number(), groups: ['keeper'] })

function twoBrokers(): {
  left: MemoryBroker
  right: MemoryBroker
  readonly combined: (of?: Record<string, 'left' | 'right'>) => Transport
} {
  const left = memoryBroker()
  const right = memoryBroker()
  const combined = (of: Record<string, 'left' | 'right'> = { doubled: 'right' }): Transport =>
    combineTransports({
      transports: { left: memoryTransport({ broker: left }), right: memoryTransport({ broker: right }) },
      of,
      default: 'left',
    })
  return { left, right, combined }
}

function hasLetters(broker: MemoryBroker, destination: string): Promise<boolean> | undefined {
  return memoryTransport({ broker }).hasPlace?.({ destination, partitions: 1, group: 'redrive' })
}

describe('combined transports', () => {
  it('give each message its own time, after any wait of earlier ones', async () => {
    const slow = new ScriptedTransport()
    const deadlines: number[] = []
    let answer: () => void = () => {}
    slow.onPublish = (messages, until) => {
      deadlines.push(until?.deadline ?? 0)
      const outcomes = messages.map(() => undefined)
      return deadlines.length === 1
        ? new Promise((resolve) => (answer = () => resolve(outcomes)))
        : Promise.resolve(outcomes)
    }
    const transport = combineTransports({ transports: { slow, memory: memoryTransport() }, default: 'slow' })
    transport.attach({ service: 's', instance: 'i', clock: systemClock, logger: silentLogger })
    const now = systemClock.monotonic()
    const sent = [5_000, 1_000, 4_000, 4_100].map((leftMs, i) =>
      transport.publish([messageOn('numbers', `k${i}`, i)], { deadline: now + leftMs }),
    )
    answer()
    await Promise.all(sent)
    expect(deadlines.map((deadline) => Math.round(deadline - now))).toEqual([5_000, 1_000, 4_000])
    expect(slow.published.map((messages) => messages.length)).toEqual([1, 1, 2])
  })

  it('consume from one and produce to the other', async () => {
    const { right, combined } = twoBrokers()
    const { got, binding } = keeper(doubled)
    const app = await running({
      transport: combined(),
      bindings: [processor(numbers, doubled, { group: 'g' }, (n) => n * 2)],
    })
    await running({ transport: memoryTransport({ broker: right }), bindings: [binding] })
    await app.send(numbers, 21)
    await until('it came', () => got.length === 1)
    expect(got[0]?.payload).toBe(42)
  })

  it('settle an input only when its output was confirmed by the other broker', async () => {
    const { right, combined } = twoBrokers()
    const { got, binding } = keeper(doubled)
    const app = await running({
      transport: combined(),
      bindings: [processor(numbers, doubled, { group: 'g', backoff: NO_PAUSE }, (n) => n * 2), binding],
    })
    right.interrupt()
    await app.send(numbers, 1)
    await until('the handler was called', () => app.binding('numbers.g').status().running === 1)
    expect(app.binding('numbers.g').status().handled).toBe(0)
    expect(app.health()).toMatchObject({ status: 'down', transport: { status: 'down' } })
    right.recover()
    await until('it came', () => got.length === 1)
    await until('it is settled', () => app.binding('numbers.g').status().handled === 1)
  })

  it('keep sending to one while the other does not answer', async () => {
    const stuck = new ScriptedTransport()
    stuck.onPublish = () => new Promise(() => {})
    const transport = combineTransports({
      transports: { stuck, memory: memoryTransport() },
      of: { numbers: 'stuck' },
      default: 'memory',
    })
    const app = createBinder({ service: 'test', transport, drainTimeoutMs: 1 })
    await app.start()
    const waiting = app.send(numbers, 1).then(
      () => 'sent',
      () => 'failed',
    )
    await until('it is stuck', () => stuck.published.length === 1)
    for (let n = 0; n < 10; n++) await app.send(doubled, n)
    void waiting
    await app.close()
  })

  it('put dead letters and run-time destinations on their channel’s transport', async () => {
    const { right, combined } = twoBrokers()
    const failing = sink(doubled, { group: 'g', maxAttempts: 1 }, () => {
      throw new Error('no')
    })
    const app = await running({ transport: combined(), bindings: [failing] })
    const letters = keeper(defineChannel('doubled.g.dlq', { payload: z.number(), partitions: 1 }))
    const elsewhere = keeper(defineChannel('doubled.eu', { payload: z.number() }))
    await running({ transport: memoryTransport({ broker: right }), bindings: [letters.binding, elsewhere.binding] })
    await app.send(doubled, 7)
    await app.send(doubled, 8, { destination: 'doubled.eu' })
    await until('both came', () => letters.got.length === 1 && elsewhere.got.length === 1)
  })

  it('assign a dead letter by its channel with a function', async () => {
    const asked = new Set<string>()
    const transport = combineTransports({
      transports: { left: memoryTransport(), right: memoryTransport() },
      of: (destination) => {
        asked.add(destination)
        return destination === 'numbers' ? 'left' : 'right'
      },
    })
    const failing = sink(numbers, { group: 'g', maxAttempts: 1 }, () => {
      throw new Error('no')
    })
    const app = await running({ transport, bindings: [failing] })
    await app.send(numbers, 7)
    await until('it is dead-lettered', () => app.binding('numbers.g').status().deadLettered === 1)
    expect([...asked]).toEqual(['numbers'])
  })

  it('assign a dead letter by its channel, though its name begins with that of another one', async () => {
    const { left, right, combined } = twoBrokers()
    const failing = sink(numbers, { group: 'eu', maxAttempts: 1 }, () => {
      throw new Error('no')
    })
    const of = { numbers: 'left', 'numbers.eu': 'right' } as const
    const app = await running({ transport: combined(of), bindings: [failing] })
    await app.send(numbers, 7)
    await until('it is dead-lettered', () => app.binding('numbers.eu').status().deadLettered === 1)
    expect([await hasLetters(left, 'numbers.eu.dlq'), await hasLetters(right, 'numbers.eu.dlq')]).toEqual([true, false])
    expect(await redrive({ service: 'ops', transport: combined(of) }, numbers, 'eu')).toMatchObject({ sent: 1 })
  })

  it('assign a dead letter by its channel when its reader is declared first', async () => {
    const { left, right } = twoBrokers()
    const transport = combineTransports({
      transports: { left: memoryTransport({ broker: left }), right: memoryTransport({ broker: right }) },
      of: (destination) => (destination === 'numbers' ? 'left' : 'right'),
    })
    const failing = sink(numbers, { group: 'g', maxAttempts: 1 }, () => {
      throw new Error('no')
    })
    const letters = defineChannel('numbers.g.dlq', { payload: z.number() })
    const read: number[] = []
    const reader = sink(letters, { group: 'redrive' }, (n) => void read.push(n))
    const app = await running({ transport, bindings: [reader, failing] })
    await app.send(numbers, 7)
    await until('it is read', () => read.length === 1)
    expect([await hasLetters(left, 'numbers.g.dlq'), await hasLetters(right, 'numbers.g.dlq')]).toEqual([true, false])
  })

  it('refuse an unassigned destination, and no other', async () => {
    const transport = combineTransports({ transports: { left: memoryTransport() }, of: { numbers: 'left' } })
    const app = await running({ transport })
    await expect(app.send(doubled, 1)).rejects.toMatchObject({
      retryable: false,
      cause: { kind: 'mismatch', message: expect.stringContaining('no transport for "doubled": name it in') as string },
    })
    await app.send(numbers, 1)
    const outcomes = await transport.publish([messageOn('doubled', null, 1), messageOn('numbers', null, 1)])
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['mismatch', undefined])
  })

  it('have each transport to themselves: two owners would close it for each other', () => {
    const shared = memoryTransport()
    const alone = { transports: { shared }, default: 'shared' } as const
    const binder = (transport: Transport, instance: string) =>
      createBinder({ service: 'shop', instance, transport, bindings: [] })
    expect(() => combineTransports({ transports: { one: shared, two: shared } })).toThrow(
      'combineTransports.transports: expected a transport of its own for each name',
    )
    const [first, second] = [combineTransports(alone), combineTransports(alone)]
    binder(first, 'shop-1')
    for (const again of [first, second, shared])
      expect(() => binder(again, 'shop-2')).toThrow('not that of the binder "shop-1", which closes it: make another')
  })

  it('have the features that all of them have, and name the transport that lacks one', () => {
    const scripted = new ScriptedTransport()
    const { features, name } = combineTransports({ transports: { a: scripted, b: memoryTransport() }, default: 'a' })
    expect(name).toBe('a+b')
    expect(features).toMatchObject({
      redeliveredFlag: true,
      durable: { missing: 'b: all is in the memory of the process' },
    })
  })

  it.for([
    [{}, 'combineTransports.transports: expected an object such as { kafka, rabbit }'],
    [{ transports: { a: {} } }, 'combineTransports.transports.a: expected a transport'],
    [{ transports: { a: memoryTransport() }, default: 'b' }, 'combineTransports.default: expected one of a, got "b"'],
    [{ transports: { a: memoryTransport() }, of: { x: 'b' } }, 'combineTransports.of["x"]: expected one of a, got "b"'],
    [{ transports: { a: memoryTransport() }, of: 'a' }, 'combineTransports.of: expected an object or a function'],
    [
      { transports: { a: memoryTransport() }, off: {} },
      'combineTransports.off: expected one of transports, of, default',
    ],
  ] as const)('refuse %o', ([options, message]) => {
    expect(() => combineTransports(options as never)).toThrow(message)
  })
})

describe('a dry redrive over combined transports', () => {
  it('reads from the channel’s transport, when a function assigns it', async () => {
    const [left, right] = [memoryBroker(), memoryBroker()]
    const combined = () =>
      combineTransports({
        transports: { left: memoryTransport({ broker: left }), right: memoryTransport({ broker: right }) },
        of: (destination) => (destination === 'numbers' ? 'right' : undefined),
        default: 'left',
      })
    const refuses = sink(numbers, { group: 'g', maxAttempts: 1 }, () => {
      throw new Error('no')
    })
    const app = await running({ transport: combined(), bindings: [refuses], sends: [numbers] })
    await app.send(numbers, 1)
    await app.send(numbers, 2)
    await until('both are dead letters', () => app.health().bindings[0]?.deadLettered === 2)
    const looked = await redrive({ service: 'ops', transport: combined() }, numbers, 'g', { dryRun: true })
    expect(looked).toMatchObject({ sent: 2, complete: true })
    expect(looked.letters).toHaveLength(2)
  })
})
