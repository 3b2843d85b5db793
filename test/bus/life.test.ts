import { TransportError } from 'concordat/binder'
import { type Clock, systemClock } from 'concordat/core'
import type { Receiver, Transport, TransportDelivery } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { created, Ping, started } from '../conformance/bus-kit.ts'
import { expectWithin } from '../support/expect-within.ts'
import { until } from '../support/until.ts'
import { keepingLogger, world } from './kit.ts'

const TO = { to: '**', ackTimeoutMs: 5_000 } as const

/** The same transport with other methods. */
function changed(transport: Transport, methods: Partial<Transport>): Transport {
  return new Proxy(transport, {
    get(target, property) {
      const own: unknown = Reflect.get(methods, property)
      const value: unknown = Reflect.get(target, property, target)
      return own ?? (typeof value === 'function' ? (value as () => unknown).bind(target) : value)
    },
  })
}

/** The same transport, but some deliveries get lost on the way to this instance. */
function losing(transport: Transport, isLost: (delivery: TransportDelivery) => boolean): Transport {
  return changed(transport, {
    subscribe: (spec, receiver) =>
      transport.subscribe(spec, {
        deliver: (delivery) => (isLost(delivery) ? delivery.ack() : receiver.deliver(delivery)),
        recall: () => receiver.recall(),
        lost: (error) => receiver.lost(error),
      }),
  })
}

/** The same transport, whose subscription to the destination can be blocked for a while, as by an open transaction. */
function blockable(transport: Transport, destination: string) {
  let blocked: Receiver | undefined
  const own = changed(transport, {
    subscribe: (spec, receiver) => {
      if (spec.destination === destination) blocked = receiver
      return transport.subscribe(spec, receiver)
    },
  })
  const reason = new Error('waits behind a transaction of another producer')
  return {
    own,
    block: (isBlocked: boolean) => blocked?.stalled?.(isBlocked ? { reason, isPassing: true } : undefined),
  }
}

it.for(['events', 'presence'])('a bus is down while its channel of %s gets nothing for a while', async (channel) => {
  const { transport } = world()
  const { own, block } = blockable(transport(), `concordat.bus.${channel}`)
  const { bus, binder } = await started(own, { instance: 'a' })
  expect(bus.health().status).toBe('up')
  block(true)
  expect(binder.health().status).toBe('up')
  expect(bus.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('transaction of another') })
  await expect(bus.ready({ timeoutMs: 50 })).rejects.toThrow(/transaction of another/)
  block(false)
  expect(bus.health().status).toBe('up')
  await bus.ready()
})

describe('an instance that was killed', () => {
  it('is named as missing, and is forgotten after three announcements', async () => {
    const { join } = world()
    const options = { heartbeatMs: 100 }
    const [a, b] = await Promise.all([join({ instance: 'a', ...options }), join({ instance: 'b', ...options })])
    expect((await a.bus.publish(Ping, { n: 0 }, TO)).acked).toHaveLength(2)
    await b.binder.close()
    const answer = await a.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 200 })
    expect(answer).toMatchObject({ acked: [a.bus.address], missing: [b.bus.address] })
    await until('it is dead', async () => (await a.bus.members()).length === 1)
    const later = await a.bus.publish(Ping, { n: 2 }, TO)
    expect(later).toMatchObject({ acked: [a.bus.address], missing: [] })
  })

  it('before it answers is missing, and is not awaited once it is known to be dead', async () => {
    const { join } = world()
    const options = { heartbeatMs: 50, missedHeartbeats: 2 }
    const [a, b] = await Promise.all([join({ instance: 'a', ...options }), join({ instance: 'b', ...options })])
    expect((await a.bus.publish(Ping, { n: 0 }, TO)).acked).toHaveLength(2)
    await b.binder.close()
    const before = performance.now()
    const answer = await a.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 6_000 })
    expect(answer.missing).toEqual([b.bus.address])
    await expectWithin(performance.now() - before, 4_500)
  })
})

describe('an event that got lost on the way to an instance', () => {
  it('is sent to it again while answers are awaited', async () => {
    const { join, transport } = world()
    let lost = 0
    const loses = losing(transport(), ({ message }) => message.headers['bus-event'] === 'ping' && lost++ === 0)
    const a = await join({ instance: 'a' })
    const b = await started(loses, { instance: 'b' })
    const answer = await a.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 900 })
    expect(answer).toMatchObject({ acked: [a.bus.address, b.bus.address], missing: [] })
    expect([a.pings, b.pings, lost]).toEqual([[1], [1], 2])
  })

  it('is not sent again after a newer one, which it would overtake', async () => {
    const { join, transport } = world()
    let lost = 0
    const loses = losing(transport(), ({ message }) => message.headers['bus-event'] === 'ping' && lost++ === 0)
    const a = await join({ instance: 'a' })
    const b = await started(loses, { instance: 'b' })
    const first = a.bus.publish(Ping, { n: 1 }, { to: 'orders:*:b', ackTimeoutMs: 600 })
    await until('it is lost', () => lost === 1)
    const second = a.bus.publish(Ping, { n: 2 }, { to: 'orders:*:b', ackTimeoutMs: 5_000 })
    expect([(await first).missing, (await second).acked, b.pings]).toEqual([[b.bus.address], [b.bus.address], [2]])
  })

  it('is answered again when the answer was lost, and not handled again', async () => {
    const { join, transport } = world()
    let lost = 0
    const loses = losing(transport(), ({ message }) => 'bus-ack-of' in message.headers && lost++ === 0)
    const a = await started(loses, { instance: 'a' })
    const b = await join({ instance: 'b' })
    await until('they know each other', async () => (await a.bus.members()).length === 2)
    const answer = await a.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 900 })
    expect(answer.acked).toEqual([a.bus.address, b.bus.address])
    expect([b.pings, lost]).toEqual([[1], 2])
  })
})

describe('a broker that goes away and comes back', () => {
  const early = (transport: Transport) => created(transport, { instance: 'early', heartbeatMs: 50 })

  it('declares no member dead, and every instance reads its configs again', async () => {
    const { join, broker } = world()
    const options = { heartbeatMs: 50, binderOptions: { sendTimeoutMs: 200 } }
    const [a, b] = await Promise.all([join({ instance: 'a', ...options }), join({ instance: 'b', ...options })])
    let loads = 0
    const load = (): { value: number; version: number } => ({ value: ++loads, version: loads })
    const config = b.bus.config('n', { schema: z.number(), initial: 0, load })
    await until('it is loaded', () => config.version === 1)
    await until('they know each other', async () => (await a.bus.members()).length === 2)
    broker.interrupt()
    await until('b has noticed', () => b.bus.health().status === 'down')
    expect(b.bus.health().detail).toContain('concordat.bus.events is connecting')
    await expect(a.bus.publish(Ping, { n: 1 }, { to: '**' })).rejects.toMatchObject({ code: 'binder.send' })
    broker.recover()
    await until('b has read its config again', () => config.version >= 2)
    expect(await a.bus.members()).toHaveLength(2)
    expect(b.bus.health().counters.gaps).toBe(1)
    await Promise.all([a, b].map(({ bus }) => bus.ready({ acks: true })))
    expect((await a.bus.publish(Ping, { n: 2 }, TO)).acked).toHaveLength(2)
    expect([a.pings, b.pings]).toEqual([[2], [2]])
  })

  it('is waited for from the start', async () => {
    const { join, broker, transport } = world()
    broker.interrupt()
    const { bus, binder } = early(transport())
    await binder.start()
    await bus.start(binder)
    expect(bus.health().status).toBe('down')
    await expect(bus.ready({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'bus.not_ready', retryable: true })
    broker.recover()
    await bus.ready()
    const other = await join({ instance: 'other' })
    expect((await bus.publish(Ping, { n: 1 }, TO)).acked).toContain(other.bus.address)
  })

  it('has missed changes since the start: a config that was loaded before the first subscription is read again', async () => {
    const { broker, transport } = world()
    broker.interrupt()
    const { bus, binder } = early(transport())
    let current = { value: 1, version: 1 }
    const config = bus.config('n', { schema: z.number(), initial: 0, load: () => current })
    await binder.start()
    await bus.start(binder)
    expect(config.version).toBe(1)
    // Another instance changes the value and notifies the listeners; this instance has not received it yet.
    current = { value: 2, version: 2 }
    broker.recover()
    await until('it has the change', () => config.version === 2)
  })
})

describe('members', () => {
  it('given by the option are awaited; one that has no bus is missing', async () => {
    const { join } = world()
    const members = () => [
      { service: 'orders', instance: 'a' },
      { service: 'orders', group: undefined, instance: 'b' },
      { service: 'orders', group: 'eu', instance: 'never-there' },
      { service: 'stock', instance: 'not-addressed' },
      { service: 'orders', instance: 'no:address' },
    ]
    const logger = keepingLogger()
    const [a, b] = await Promise.all([join({ instance: 'a', members, logger }), join({ instance: 'b', members })])
    expect(a.binder.bindings().map(({ name }) => name)).toEqual(['concordat.bus.events', 'concordat.bus.acks'])
    const answer = await a.bus.publish(Ping, { n: 1 }, { to: 'orders:**', ackTimeoutMs: 300 })
    expect(answer).toMatchObject({ acked: [a.bus.address, b.bus.address], missing: ['orders:eu:never-there'] })
    expect(logger.lines.some(({ message }) => message.includes('cannot be addressed'))).toBe(true)
  })

  it('members that do not answer fail a publish in time, and delay nothing else', async () => {
    const members = () => new Promise<never>(() => {})
    const { bus, pings } = await world().join({ members })
    const asking = bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 100 }).catch((error: unknown) => error)
    await bus.publish(Ping, { n: 2 }, { to: '**' })
    expect(await asking).toMatchObject({ code: 'bus.not_ready' })
    await until('the second has come', () => pings.length > 0)
    expect(pings).toEqual([2])
  })

  it.each([
    ['fails', () => Promise.reject(new Error('the membership is away'))],
    ['hangs', () => new Promise<never>(() => {})],
  ])('are read again during the wait for answers; when that %s, the answers still arrive', async (_name, away) => {
    let asked = 0
    const known = [{ service: 'orders', instance: 'gone' }]
    const { bus } = await world().join({ members: async () => (asked++ === 0 ? known : away()) })
    const before = performance.now()
    const answer = await bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 300 })
    expect(answer).toMatchObject({ acked: [bus.address], missing: ['orders:default:gone'] })
    expect(asked).toBeGreaterThan(1)
    await expectWithin(performance.now() - before, 2_000)
  })

  it('unavailable members fail a publish before anything is sent', async () => {
    const members = () => Promise.reject(new Error('the membership is away'))
    const { bus, pings } = await world().join({ members })
    await expect(bus.publish(Ping, { n: 1 }, TO)).rejects.toThrow('the membership is away')
    expect(pings).toEqual([])
  })
})

it('two processes with one address both handle events, and both report the conflict', async () => {
  const { join } = world()
  const options = { instance: 'same', heartbeatMs: 50 }
  const [a, b] = await Promise.all([join(options), join(options)])
  const sender = await join({ instance: 'sender' })
  await sender.bus.publish(Ping, { n: 1 }, { to: 'orders:*:same' })
  await until('both have it', () => a.pings.length + b.pings.length === 2)
  await until('both know', () => [a, b].every(({ bus }) => bus.health().status === 'down'))
  expect(a.bus.health().detail).toBe('another process has the address orders:default:same')
  await b.bus.close()
  await until('a is well again', () => a.bus.health().status === 'up')
})

it('close lets a running handler finish, and does not wait longer than drainTimeoutMs', async () => {
  const { join } = world()
  let finished = false
  const slow = await join({
    onPing: async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      finished = true
    },
  })
  await slow.bus.publish(Ping, { n: 1 }, { to: '**' })
  await until('it runs', () => slow.pings.length === 1)
  await slow.bus.close()
  expect(finished).toBe(true)
  const stuck = await join({ onPing: () => new Promise(() => {}), drainTimeoutMs: 20 })
  await stuck.bus.publish(Ping, { n: 1 }, { to: '**' })
  await until('it runs', () => stuck.pings.length === 1)
  await stuck.bus[Symbol.asyncDispose]()
  expect(stuck.contexts[0]?.signal.aborted).toBe(true)
})

it('an instance that has left does not answer a hello of another', async () => {
  const { join } = world()
  const [a, b] = [await join({ instance: 'a' }), await join({ instance: 'b' })]
  expect((await b.bus.publish(Ping, { n: 0 }, TO)).acked).toHaveLength(2)
  // The bus of `a` is closed, but its binder still receives.
  await a.bus.close()
  const c = await join({ instance: 'c' })
  const answer = await c.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 300 })
  expect(answer).toMatchObject({ acked: [b.bus.address, c.bus.address], missing: [] })
})

it('publishing with answers fails, and delays nothing, while hello cannot be sent', async () => {
  const { transport } = world()
  // A hundred times as fast, so that thirty seconds can be waited for.
  const clock: Clock = {
    now: () => Date.now(),
    monotonic: () => 100 * performance.now(),
    sleep: (durationMs, signal) => systemClock.sleep(durationMs / 100, signal),
    setTimer: (durationMs, callback) => systemClock.setTimer(durationMs / 100, callback),
  }
  const own = transport()
  const mute = changed(own, {
    publish: async (messages) => {
      if (messages.every(({ destination }) => !destination.endsWith('.presence'))) return own.publish(messages)
      return messages.map(
        () => new TransportError({ transport: 'memory', kind: 'refused', message: 'not allowed to write there' }),
      )
    },
  })
  const { bus, binder } = created(mute, { clock })
  await binder.start()
  await binder.ready()
  await bus.start(binder)
  const asking = bus.publish(Ping, { n: 1 }, TO).catch((error: unknown) => error)
  const after = bus.publish(Ping, { n: 2 }, { to: '**' })
  expect(await asking).toMatchObject({ code: 'bus.not_ready', retryable: true })
  await after
})
