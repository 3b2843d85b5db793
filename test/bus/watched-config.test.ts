import { createBinder } from 'concordat/binder'
import { ConfigChanged, createBus, Refresh } from 'concordat/bus'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { VersionedValue } from '../support/inside/bus.ts'
import { gate, until } from '../support/until.ts'
import { keepingLogger, world } from './kit.ts'

const TO = { to: '**', ackTimeoutMs: 5_000 } as const
const Rates = z.object({ eur: z.number() })
const rates = (eur: number, version: number): VersionedValue => ({ value: { eur }, version })

describe('a config with versions', () => {
  it('takes the newest, in any order of arrival, and notifies watchers', async () => {
    const { bus } = await world().join()
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 } })
    const seen: unknown[] = []
    config.subscribe((value, version) => seen.push([value.eur, version]))
    expect([config.value, config.version]).toEqual([{ eur: 0 }, 0])
    const acked: boolean[] = []
    for (const version of [2, 1, 3, 3, 2]) {
      const answer = await bus.publish(ConfigChanged, { name: 'rates', ...rates(version * 10, version) }, TO)
      acked.push(answer.acked.length === 1)
    }
    expect(acked).toEqual([true, false, true, true, false])
    expect([config.value, config.version, seen]).toEqual([
      { eur: 30 },
      3,
      [
        [20, 2],
        [30, 3],
      ],
    ])
  })

  it.each([
    ['an older version', rates(4, 6)],
    ['another value of the same version', rates(4, 7)],
  ])('reports to the publisher of %s that it does not apply', async (_, change) => {
    const { bus } = await world().join()
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 } })
    await bus.publish(ConfigChanged, { name: 'rates', ...rates(1, 7) }, TO)
    const answer = await bus.publish(ConfigChanged, { name: 'rates', ...change }, TO)
    expect(answer.failed[0]?.error.message).toContain('keeps version 7, and the change has')
    expect([config.value, config.version]).toEqual([{ eur: 1 }, 7])
  })

  it('refuses a change without a version, since its age cannot be compared', async () => {
    const { bus } = await world().join()
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 } })
    await bus.publish(ConfigChanged, { name: 'rates', ...rates(1, 1) }, TO)
    const answer = await bus.publish(ConfigChanged, { name: 'rates', value: { eur: 2 } }, TO)
    expect(answer.failed[0]?.error.message).toContain('is at version 1: publish a version with the change')
    expect(config.value).toEqual({ eur: 1 })
  })

  it('keeps the old value when the new one is invalid, and the next valid one counts', async () => {
    const { bus } = await world().join()
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 } })
    const wrong = await bus.publish(ConfigChanged, { name: 'rates', value: { eur: '1' }, version: 1 }, TO)
    expect(wrong.failed[0]?.error).toMatchObject({ code: 'core.schema' })
    expect([config.value, config.version]).toEqual([{ eur: 0 }, 0])
    await bus.publish(ConfigChanged, { name: 'rates', ...rates(2, 2) }, TO)
    expect(config.value).toEqual({ eur: 2 })
  })

  it('does not let a slow check of an older value overwrite a newer one', async () => {
    const slowly = gate()
    const slow = Rates.refine(async ({ eur }) => {
      if (eur === 1) await slowly.opened
      return true
    })
    const { join } = world()
    const [a, b] = await Promise.all([join({ service: 'a' }), join({ service: 'b' })])
    const config = b.bus.config('rates', { schema: slow, initial: { eur: 0 } })
    const first = a.bus.publish(ConfigChanged, { name: 'rates', ...rates(1, 1) }, { ...TO, to: 'b:**' })
    await b.bus.publish(ConfigChanged, { name: 'rates', ...rates(2, 2) }, { ...TO, to: 'b:**' })
    slowly.open()
    await first
    expect([config.value, config.version]).toEqual([{ eur: 2 }, 2])
  })

  it('does not let a slow check of a value without a version overwrite one of the source', async () => {
    const slowly = gate()
    const slow = Rates.refine(async ({ eur }) => {
      if (eur === 1) await slowly.opened
      return true
    })
    const { join } = world()
    const [a, b] = await Promise.all([join({ service: 'a' }), join({ service: 'b' })])
    const config = b.bus.config('rates', { schema: slow, initial: { eur: 0 } })
    const first = a.bus.publish(ConfigChanged, { name: 'rates', value: { eur: 1 } }, { ...TO, to: 'b:**' })
    await b.bus.publish(ConfigChanged, { name: 'rates', ...rates(2, 2) }, { ...TO, to: 'b:**' })
    slowly.open()
    const answer = await first
    expect([config.value, config.version]).toEqual([{ eur: 2 }, 2])
    expect(answer.failed[0]?.error.message).toContain('publish a version with the change, from where it is kept')
  })

  it('survives a listener that throws', async () => {
    const logger = keepingLogger()
    const { bus } = await world().join({ logger })
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 } })
    const seen: number[] = []
    config.subscribe(() => {
      throw new Error('no')
    })
    const stop = config.subscribe((_, version) => seen.push(version))
    await bus.publish(ConfigChanged, { name: 'rates', ...rates(1, 1) }, TO)
    stop()
    await bus.publish(ConfigChanged, { name: 'rates', ...rates(2, 2) }, TO)
    expect([config.version, seen]).toEqual([2, [1]])
    expect(logger.lines.some(({ message }) => message === 'bus: a listener of a config failed')).toBe(true)
  })
})

it('a config without versions follows the time of the events, and needs a value with each', async () => {
  const { join } = world()
  const [a, b] = await Promise.all([join({ instance: 'a' }), join({ instance: 'b' })])
  const config = b.bus.config('rates', { schema: Rates, initial: { eur: 0 } })
  for (const eur of [1, 2, 3]) await a.bus.publish(ConfigChanged, { name: 'rates', value: { eur } }, TO)
  expect(config.value).toEqual({ eur: 3 })
  expect(Math.abs(config.version - Date.now())).toBeLessThan(10_000)
  const answer = await a.bus.publish(ConfigChanged, { name: 'rates' }, { ...TO, to: 'orders:*:b' })
  expect(answer.failed[0]?.error.message).toContain('has no load option here')
})

describe('a config with load', () => {
  it('is loaded before start resolves, so that late instances have the same value', async () => {
    const store = { current: rates(7, 7) }
    const { join, transport } = world()
    await join({ instance: 'a' })
    const bus = createBus({ service: 'orders', instance: 'late' })
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 }, load: async () => store.current })
    const binder = createBinder({
      service: 'orders',
      transport: transport(),
      bindings: bus.bindings,
      sends: bus.channels,
    })
    onTestFinished(async () => {
      await bus.close()
      await binder.close()
    })
    await binder.start()
    await bus.start(binder)
    expect([config.value, config.version]).toEqual([{ eur: 7 }, 7])
  })

  it('loads again when a change comes without a version, and always after the change', async () => {
    const { bus } = await world().join()
    let current = rates(1, 1)
    const slowly = gate()
    let loads = 0
    const config = bus.config('rates', {
      schema: Rates,
      initial: { eur: 0 },
      load: async () => {
        const found = current
        if (++loads === 1) await slowly.opened
        return found
      },
    })
    await until('the first load is under way', () => loads === 1)
    current = rates(2, 2)
    const changes = Promise.all([
      bus.publish(ConfigChanged, { name: 'rates' }, TO),
      bus.publish(ConfigChanged, { name: 'rates', value: { eur: 99 } }, TO),
    ])
    slowly.open()
    await changes
    expect([config.value, config.version]).toEqual([{ eur: 2 }, 2])
    expect(loads).toBeLessThanOrEqual(3)
  })

  it('takes a change with value and version without loading', async () => {
    const { bus } = await world().join()
    let loads = 0
    const load = (): undefined => void loads++
    const config = bus.config('rates', { schema: Rates, initial: { eur: 0 }, load })
    await until('it was loaded', () => loads === 1)
    await bus.publish(ConfigChanged, { name: 'rates', ...rates(5, 5) }, TO)
    expect([config.version, loads]).toEqual([5, 1])
  })

  it('a config whose load fails is tried until it works, and health says so in between', async () => {
    const { bus } = await world().join()
    let isAway = true
    const config = bus.config('rates', {
      schema: Rates,
      initial: { eur: 0 },
      load: () => {
        if (isAway) throw new Error('the store is away')
        return rates(1, 1)
      },
    })
    await until('it has failed', () => bus.health().detail === 'config "rates": the store is away')
    expect([config.value, bus.health().status]).toEqual([{ eur: 0 }, 'down'])
    await expect(config.refresh()).rejects.toThrow('the store is away')
    isAway = false
    await until('it is loaded', () => config.version === 1)
    expect(bus.health().status).toBe('up')
  })

  it('a config whose load fails at a change, or at Refresh, is tried until it works as well', async () => {
    const { bus } = await world().join()
    let [current, isAway] = [rates(1, 1), false]
    const config = bus.config('rates', {
      schema: Rates,
      initial: { eur: 0 },
      load: () => {
        if (isAway) throw new Error('the store is away')
        return current
      },
    })
    await until('it is loaded', () => config.version === 1)
    for (const [version, publish] of [
      [2, () => bus.publish(ConfigChanged, { name: 'rates' }, TO)],
      [3, () => bus.publish(Refresh, {}, TO)],
    ] as const) {
      ;[current, isAway] = [rates(version, version), true]
      expect((await publish()).failed[0]?.error.message).toBe('the store is away')
      expect(bus.health().status).toBe('down')
      isAway = false
      await until('it is loaded again', () => config.version === version)
      expect(bus.health().status).toBe('up')
    }
  })

  it('a load that hangs, or has no version, fails', async () => {
    const { bus } = await world().join()
    const hangs = bus.config('hangs', {
      schema: Rates,
      initial: { eur: 0 },
      load: () => new Promise<undefined>(() => {}),
      loadTimeoutMs: 30,
    })
    await expect(hangs.refresh()).rejects.toThrow('took longer than 30 ms')
    const noVersion = bus.config('none', {
      schema: Rates,
      initial: { eur: 0 },
      load: () => ({ value: { eur: 1 } }) as never,
    })
    await expect(noVersion.refresh()).rejects.toThrow('bus.config("none").load version: expected a whole number')
  })

  it('whose schema never answers fails in time, and the next load is another attempt', async () => {
    const { bus } = await world().join()
    let hangs = true
    const schema = Rates.refine(() => (hangs ? new Promise<boolean>(() => {}) : true))
    const load = (): VersionedValue => rates(1, 1)
    const config = bus.config('rates', { schema, initial: { eur: 0 }, load, loadTimeoutMs: 50 })
    await expect(config.refresh()).rejects.toMatchObject({ code: 'bus.schema_timeout', subject: 'config "rates"' })
    hangs = false
    await config.refresh()
    expect(config.value).toEqual({ eur: 1 })
  })

  it('is declared once', async () => {
    const { bus } = await world().join()
    bus.config('rates', { schema: Rates, initial: { eur: 0 } })
    expect(() => bus.config('rates', { schema: Rates, initial: { eur: 0 } })).toThrow('each config declared once')
  })
})
