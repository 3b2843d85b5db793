import { defineChannel, SendError, sink, TransportError } from 'concordat/binder'
import { SendReports } from 'concordat/bus'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type InstanceOptions, SECRET } from '../conformance/bus-kit.ts'
import { parseAddress, type ReportWatch, type WatchedInstance } from '../support/inside/bus.ts'
import { newId } from '../support/inside/core.ts'
import { gate, until } from '../support/until.ts'
import {
  busContext,
  decodeReport,
  encodeReport,
  InstanceReporter,
  KitClock,
  LatestInstanceReports,
  MAX_INSTANCES,
  MAX_REPORT_BYTES,
  type ReportEnvelope,
  resolveBus,
} from './inside.ts'
import { keepingLogger, world } from './kit.ts'

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), groups: ['stock'] })
const FAST = { everyMs: 1_000 }

function stock(options: InstanceOptions = {}): InstanceOptions {
  const failing = sink(orders, { group: 'stock', maxAttempts: 1 }, ({ n }) => {
    if (n < 0) throw new Error('no such sku: s3cret')
  })
  return { ...options, binderOptions: { bindings: [failing] } }
}

const names = (watch: ReportWatch): string[] =>
  watch
    .instances()
    .map(({ address }) => address.instance)
    .sort()

const find = (watch: ReportWatch, instance: string): WatchedInstance | undefined =>
  watch.instances().find(({ address }) => address.instance === instance)

describe('a watch', () => {
  it('sees every instance with states and counters of its bindings, and how fast they move', async () => {
    const { join } = world()
    const [operator, a, b] = await Promise.all([
      join({ service: 'operator' }),
      join(stock({ instance: 'a' })),
      join({ service: 'payments', instance: 'b' }),
    ])
    const watch = await operator.bus.watch(FAST)
    await until('both have reported', () => names(watch).length === 2)
    expect(find(watch, 'a')).toMatchObject({
      address: { service: 'orders', group: 'default', instance: 'a' },
      leftOut: 0,
      bindings: [
        { name: 'orders.stock', kind: 'sink', channel: 'orders', group: 'stock', state: 'running', handled: 0 },
      ],
    })
    expect(find(watch, 'b')).toMatchObject({ bindings: [] })
    await a.binder.send(orders, { n: 1 })
    await a.binder.send(orders, { n: -1 })
    await until('it moves', () => (find(watch, 'a')?.bindings[0]?.handledPerSecond ?? 0) > 0)
    expect(find(watch, 'a')?.bindings[0]).toMatchObject({ handled: 1, deadLettered: 1 })
    expect(find(watch, 'a')?.bindings[0]?.failedPerSecond).toBeGreaterThan(0)
    expect(JSON.stringify(watch.instances())).not.toContain('s3cret')
    a.binder.binding('orders.stock').pause()
    await until('it is paused', () => find(watch, 'a')?.bindings[0]?.state === 'paused')
    expect(watch.trouble()).toBeUndefined()
    void b
  })

  it('loses an instance that is gone after three times its interval', async () => {
    const { join } = world()
    const [operator, a] = await Promise.all([join({ service: 'operator' }), join({ instance: 'a' })])
    const watch = await operator.bus.watch(FAST)
    await until('it is seen', () => names(watch).includes('a'))
    await a.bus.close()
    await until('it is gone', () => names(watch).length === 0, 10_000)
  })

  it('includes later instances, and only matching ones', async () => {
    const { join } = world()
    const operator = await join({ service: 'operator' })
    const watch = await operator.bus.watch({ ...FAST, to: 'orders:**' })
    await join({ service: 'payments', instance: 'p' })
    await join({ service: 'orders', instance: 'late' })
    await until('it is seen', () => names(watch).includes('late'))
    expect(names(watch)).toEqual(['late'])
  })

  it('is refused where the bus refuses, and for an invalid interval', async () => {
    const { join } = world()
    const { bus } = await join({ authorize: ({ event }) => event !== SendReports.name })
    await expect(bus.watch()).rejects.toMatchObject({ code: 'bus.forbidden' })
    await expect(bus.watch({ everyMs: 10 })).rejects.toThrow('bus.watch.everyMs')
    await expect(bus.watch({ to: 'orders' })).rejects.toMatchObject({ code: 'bus.address' })
    await expect(bus.watch({ every: 1 } as never)).rejects.toThrow('bus.watch')
  })
})

describe('a message of a stranger', () => {
  it('is dropped on a signed bus', async () => {
    const { join, intruder } = world()
    const logger = keepingLogger()
    const [operator, , thief] = await Promise.all([
      join({ service: 'operator', secret: SECRET, logger }),
      join({ instance: 'a', secret: SECRET }),
      intruder(),
    ])
    const watch = await operator.bus.watch(FAST)
    await until('the genuine one is seen', () => names(watch).includes('a'))
    const body = encodeReport({ uptimeMs: 1, memoryBytes: 1, cpu: 0, blockedMs: 0, bindings: [] })
    const headers = {
      'bus-version': 1,
      'bus-from': 'orders:default:ghost',
      'bus-report': true,
      'bus-session': 's',
    }
    await thief.send(headers, { destination: 'concordat.bus.acks', body })
    await until('it is judged', () => operator.bus.health().counters.dropped.unsigned === 1)
    expect(names(watch)).toEqual(['a'])
  })

  it('a foreign report that is unreadable, or of a newer version, is counted and breaks nothing', async () => {
    const { join, intruder } = world()
    const [operator, thief] = await Promise.all([join({ service: 'operator' }), intruder()])
    const watch = await operator.bus.watch(FAST)
    const bodies = ['', '[]', '{"v":1}', '{"v":2}', `{"v":1,"x":"${'x'.repeat(MAX_REPORT_BYTES)}"}`]
    for (const [n, body] of bodies.entries()) {
      const headers = { 'bus-version': 1, 'bus-from': `x:y:z${n}`, 'bus-report': true, 'bus-session': newId() }
      await thief.send(headers, { destination: 'concordat.bus.acks', body: Buffer.from(body) })
    }
    await until('all are judged', () => {
      const { malformed, unsupported } = operator.bus.health().counters.dropped
      return malformed === 4 && unsupported === 1
    })
    expect(watch.instances()).toEqual([])
  })
})

describe('an instance', () => {
  const setup = (refuse?: () => Error) => {
    const clock = new KitClock(0)
    const logger = keepingLogger()
    const sent: number[] = []
    const send = async (): Promise<void> => {
      sent.push(clock.monotonic())
      if (refuse !== undefined) throw refuse()
    }
    const binder = { send }
    const reporter = new InstanceReporter({
      ...busContext(resolveBus({ service: 'orders', instance: 'a', clock, logger })),
      connection: { binder, others: () => [] } as never,
    })
    const pass = async (ms: number): Promise<void> => {
      for (const end = clock.monotonic() + ms; clock.monotonic() < end; ) {
        clock.step(end - clock.monotonic())
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    return { clock, sent, reporter, pass, logger }
  }

  it('stops without a warning when no queue takes its reports: the watch has ended', async () => {
    const cause = new TransportError({ transport: 'rabbitmq', kind: 'unroutable', message: 'no queue gets it' })
    const { clock, sent, reporter, pass, logger } = setup(() => new SendError('acks', 'm-1', cause))
    reporter.wanted({ everyMs: 2_000, forMs: 10_000 })
    await pass(60_000)
    expect(sent).toHaveLength(1)
    expect(logger.lines.filter(({ level }) => level === 'warn')).toEqual([])
    expect(clock.nextInMs).toBeUndefined()
    reporter.wanted({ everyMs: 2_000, forMs: 10_000 })
    await pass(5_000)
    expect(sent).toHaveLength(2)
  })

  it('reports for as long as a watch requests it, and then has no timer left', async () => {
    const { clock, sent, reporter, pass } = setup()
    await pass(60_000)
    expect(sent).toEqual([])
    reporter.wanted({ everyMs: 2_000, forMs: 10_000 })
    await pass(60_000)
    expect(sent.length).toBe(5)
    expect(clock.nextInMs).toBeUndefined()
  })

  it('serves several watches at the pace of the fastest, and at most once a second', async () => {
    const { clock, sent, reporter, pass } = setup()
    reporter.wanted({ everyMs: 60_000, forMs: 100_000 })
    for (let n = 0; n < 100; n++) reporter.wanted({ everyMs: 1, forMs: 10_000 })
    await pass(10_000)
    expect(sent.length).toBeGreaterThanOrEqual(9)
    expect(sent.length).toBeLessThanOrEqual(11)
    reporter.close()
    reporter.wanted({ everyMs: 1_000, forMs: 10_000 })
    expect(clock.nextInMs).toBeUndefined()
  })
})

let time = 0

function envelope(sender: string, session = 's'): ReportEnvelope {
  const id = newId()
  return { kind: 'report', id, signature: undefined, sender, session, from: parseAddress(sender), time: ++time }
}

function body(bindings: number) {
  const counters = { running: 0, queued: 0, handled: 0, deadLettered: 0, dropped: 0, retried: 0 }
  const fixed = { kind: 'sink', channel: 'c', group: 'g', partitions: 4, state: 'running', ...counters } as const
  const all = Array.from({ length: bindings }, (_, n) => ({ name: `b${n}`, ...fixed }))
  return { uptimeMs: 1, memoryBytes: 1, cpu: 0, blockedMs: 0, leftOut: 0, bindings: all }
}

describe('a watch that overlaps the close of its bus', () => {
  it('rejects, and asks for no report afterwards', async () => {
    const [asked, confirmed] = [gate(), gate()]
    const { bus, binder } = await world().join()
    const send = binder.send.bind(binder)
    binder.send = (async (...args: Parameters<typeof send>) => {
      const sent = await send(...args)
      asked.open()
      await confirmed.opened
      return sent
    }) as typeof binder.send
    const watching = bus.watch(FAST)
    await asked.opened
    const closing = bus.close()
    confirmed.open()
    await expect(watching).rejects.toMatchObject({ code: 'bus.closed' })
    await closing
  })
})

describe('a stored report', () => {
  it('is bounded in instances, bindings and rate, also against an attacker', () => {
    const watched = new LatestInstanceReports(6_000)
    const first = envelope('a:b:c')
    watched.take(first, body(1), 0)
    expect(watched.judge(envelope('a:b:c'), 100)).toBe('too soon')
    expect(watched.judge(first, 1_000)).toBe('too soon')
    expect(watched.judge(envelope('a:b:c'), 1_000)).toBe('taken')
    for (let n = 1; n < MAX_INSTANCES; n++) watched.take(envelope(`a:b:i${n}`), body(n <= 66 ? 300 : 0), 0)
    expect(watched.judge(envelope('a:b:one-too-many'), 1_000)).toBe('too many')
    expect(watched.take(envelope('a:b:c'), body(300), 1_000)).toBe('too many')
    expect(watched.all(1_000)).toHaveLength(MAX_INSTANCES)
    expect(watched.all(6_000)).toEqual([])
    expect(watched.take(envelope('a:b:c'), body(300), 6_000)).toBe('taken')
  })

  it('begins anew with a process of the same name, and never goes backwards', () => {
    const watched = new LatestInstanceReports(6_000)
    const [report] = body(1).bindings
    const handled = (n: number, uptimeMs = 0) => ({
      ...body(0),
      uptimeMs,
      bindings: [{ ...(report as NonNullable<typeof report>), handled: n }],
    })
    watched.take({ ...envelope('a:b:c'), time: 1_000 }, handled(10, 1_000), 0)
    watched.take({ ...envelope('a:b:c'), time: 3_000 }, handled(30, 3_000), 2_000)
    expect(watched.all(2_000)[0]?.bindings[0]?.handledPerSecond).toBe(10)
    watched.take({ ...envelope('a:b:c'), time: 5_000 }, handled(0, 5_000), 4_000)
    expect(watched.all(4_000)[0]?.bindings[0]?.handledPerSecond).toBe(0)
    watched.take({ ...envelope('a:b:c', 'another'), time: 6_000 }, handled(5), 5_000)
    expect(watched.all(5_000).map(({ bindings }) => bindings[0]?.handledPerSecond)).toEqual([0, undefined])
  })

  it('has the right rates also after the clock of its sender was set back', () => {
    const watched = new LatestInstanceReports(6_000)
    const [report] = body(1).bindings
    const at = (uptimeMs: number, handled: number) => ({
      ...body(0),
      uptimeMs,
      bindings: [{ ...(report as NonNullable<typeof report>), handled }],
    })
    watched.take({ ...envelope('a:b:c'), time: 1_000 }, at(1_000, 10), 0)
    watched.take({ ...envelope('a:b:c'), time: 1_001 }, at(3_000, 30), 2_000)
    expect(watched.all(2_000)[0]?.bindings[0]?.handledPerSecond).toBe(10)
  })

  it('leaves out a binding with a too long name, and not the instance', () => {
    const [report] = body(1).bindings
    const named = (name: string) => ({ ...(report as NonNullable<typeof report>), name })
    const longest = `${'c'.repeat(200)}.${'g'.repeat(100)}`
    const read = decodeReport(encodeReport({ ...body(0), bindings: [named('n'.repeat(302)), named(longest)] }))
    expect(read).toMatchObject({ bindings: [{ name: longest }], leftOut: 1 })
  })

  it('is cut to size, with the number of omitted entries', () => {
    const [report] = body(1).bindings
    const many = Array.from({ length: 1_000 }, (_, n) => ({
      ...(report as NonNullable<typeof report>),
      name: `${'long'.repeat(60)}${n}`,
    }))
    const bytes = encodeReport({ ...body(0), bindings: many })
    expect(bytes.byteLength).toBeLessThanOrEqual(MAX_REPORT_BYTES)
    const read = decodeReport(bytes)
    if (typeof read === 'string') throw new Error(read)
    expect(read.bindings.length + read.leftOut).toBe(1_000)
    expect(read.leftOut).toBeGreaterThan(0)
  })
})
