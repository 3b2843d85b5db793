/** An operator without any code of the instances sees them on a bus and sends them events. */

import { createOperator, type OperatedBus } from '@concordat/cli'
import { type Binder, type BinderOptions, type Binding, createBinder, defineChannel, sink } from 'concordat/binder'
import { createBus, defineEvent, onEvent, SetLogLevel } from 'concordat/bus'
import { createMembership } from 'concordat/cluster'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryStateServer, memoryStateStore, memoryTransport } from 'concordat/memory'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { BusOptions } from '../support/inside/bus.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const note = { by: 'ann', reason: 'looking for o-17' }
const Cleared = defineEvent('cache-cleared', { payload: z.object({ region: z.string() }) })
const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), groups: ['stock'] })
let count = 0

async function setup(where: 'memory' | 'log', operated?: OperatedBus) {
  const schema = `bus_${++count}`
  const broker = memoryBroker()
  const own = (): Transport => (where === 'memory' ? memoryTransport({ broker }) : postgresTransport({ sql, schema }))
  const operator = createOperator({
    sql,
    schema,
    ...(where === 'memory' && { transport: () => memoryTransport({ broker }) }),
    ...(operated && { bus: operated }),
  })
  await operator.migrate({ ...note, parts: ['operator'] })
  const join = async (
    options: BusOptions,
    bindings: readonly Binding[] = [],
    sends: NonNullable<BinderOptions['sends']> = [],
  ): Promise<Binder> => {
    const bus = createBus(options)
    const binder = createBinder({
      service: options.service,
      transport: own(),
      bindings: [...bindings, ...bus.bindings],
      sends: [...sends, ...bus.channels],
    })
    onTestFinished(async () => {
      await bus.close()
      await binder.close()
    })
    await binder.start()
    await bus.start(binder)
    await bus.ready()
    return binder
  }
  return { operator, join }
}

describe.each(['memory', 'log'] as const)('the bus, on the transport %s', (where) => {
  test('its instances are listed, without the operator', async () => {
    const { operator, join } = await setup(where)
    await join({ service: 'orders', group: 'eu', instance: 'orders-1' })
    await join({ service: 'payments', instance: 'payments-1' })
    expect(await operator.bus.members({ listenMs: 2_000 })).toEqual([
      { service: 'orders', group: 'eu', instance: 'orders-1' },
      { service: 'payments', group: 'default', instance: 'payments-1' },
    ])
  })

  test('an order reports the instances that did it, that failed and that have no handler, and the audit has who and why', async () => {
    const { operator, join } = await setup(where)
    const regions: string[] = []
    await join({
      service: 'orders',
      instance: 'o-1',
      on: [onEvent(Cleared, ({ region }) => void regions.push(region))],
    })
    await join({
      service: 'orders',
      instance: 'o-2',
      on: [
        onEvent(Cleared, () => {
          throw new Error('no cache here')
        }),
      ],
    })
    await join({ service: 'orders', instance: 'o-3' })
    const order = { event: 'cache-cleared', payload: { region: 'north' }, to: 'orders:**', listenMs: 2_000, ...note }
    const all = ['orders:default:o-1', 'orders:default:o-2', 'orders:default:o-3']
    expect(await operator.bus.send(order)).toMatchObject({ dryRun: true, addressed: all, acked: [] })
    expect(regions).toEqual([])
    expect(await operator.audit()).not.toContainEqual(expect.objectContaining({ part: 'bus' }))
    expect(await operator.bus.send({ ...order, dryRun: false })).toMatchObject({
      event: 'cache-cleared',
      dryRun: false,
      addressed: all,
      acked: ['orders:default:o-1'],
      failed: [{ address: 'orders:default:o-2', error: { message: 'no cache here' } }],
      ignored: ['orders:default:o-3'],
      missing: [],
    })
    expect(regions).toEqual(['north'])
    expect(await operator.audit()).toContainEqual(
      expect.objectContaining({
        part: 'bus',
        action: 'cache-cleared',
        target: 'orders:**',
        ...note,
        outcome: '1 did it, 1 failed, 1 ignored it, 0 did not answer',
      }),
    )
  })

  test('the work of all instances is shown, summed, with the lag of their group', async () => {
    const { operator, join } = await setup(where)
    const stock = sink(orders, { group: 'stock' }, () => {})
    const binders = await Promise.all(
      ['o-1', 'o-2'].map((instance) => join({ service: 'orders', instance }, [stock], [orders])),
    )
    await join({ service: 'payments', instance: 'p-1' })
    await using watch = await operator.bus.watch({ everyMs: 1_000 })
    await until('all have reported', () => watch.view().instances.length === 3)
    expect(watch.view().instances.map(({ address }) => address)).toEqual([
      'orders:default:o-1',
      'orders:default:o-2',
      'payments:default:p-1',
    ])
    for (let n = 0; n < 20; n++) await binders[0]?.send(orders, { n })
    await until('they have handled all', () => watch.view().bindings[0]?.handled === 20)
    await until('the lag is known', () => watch.view().bindings[0]?.lag !== undefined)
    expect(watch.view()).toMatchObject({
      leftOut: 0,
      bindings: [{ service: 'orders', name: 'orders.stock', instances: 2, states: { running: 2 }, lag: 0 }],
    })
    expect(watch.bindingsOf('orders:default:o-1')).toMatchObject([{ name: 'orders.stock', group: 'stock' }])
    expect(watch.bindingsOf('nobody')).toBeUndefined()
    binders[1]?.binding('orders.stock').pause()
    await until('one is paused', () => watch.view().bindings[0]?.states['paused'] === 1)
    expect(watch.trouble()).toBeUndefined()
    await watch.close()
  })

  test('a built-in event goes by its short name, and ** does not mean the operator', async () => {
    const { operator, join } = await setup(where)
    const levels: string[] = []
    await join({ service: 'orders', instance: 'o-1', setLevel: (level) => void levels.push(level) })
    const order = { payload: { level: 'debug' }, to: '**', dryRun: false, ...note }
    for (const event of ['set-log-level', SetLogLevel.name]) {
      const report = await operator.bus.send({ ...order, event })
      expect(report).toMatchObject({ event: SetLogLevel.name, acked: ['orders:default:o-1'], failed: [], ignored: [] })
    }
    expect(levels).toEqual(['debug', 'debug'])
  })
})

describe('the bus of an operator', () => {
  const secret = 'a'.repeat(32)

  test('is signed with the secret of the services; without it no instance is seen and nothing is done', async () => {
    const { operator, join } = await setup('memory', { secret, channel: 'shop.bus' })
    const levels: string[] = []
    await join({
      service: 'orders',
      instance: 'o-1',
      secret,
      channel: 'shop.bus',
      setLevel: (level) => void levels.push(level),
    })
    const order = { event: 'set-log-level', payload: { level: 'warn' }, to: '**', dryRun: false, ...note }
    expect(await operator.bus.send(order)).toMatchObject({ acked: ['orders:default:o-1'] })
    expect(levels).toEqual(['warn'])
  })

  test('an order that the services do not allow is a failure that says so', async () => {
    const { operator, join } = await setup('memory')
    await join({ service: 'orders', instance: 'o-1', authorize: ({ from }) => from.service !== 'operator' })
    const report = await operator.bus.send({ event: 'refresh', to: '**', dryRun: false, ...note })
    expect(report).toMatchObject({
      acked: [],
      failed: [{ address: 'orders:default:o-1', error: { code: 'bus.forbidden' } }],
    })
  })

  test.for<[string, object, object]>([
    ['a pattern that is none', { event: 'refresh', to: 'orders' }, { code: 'bus.address' }],
    [
      'a payload that does not fit',
      { event: 'set-log-level', payload: { level: 'loud' }, to: '**' },
      { code: 'core.schema' },
    ],
    ['a name that is none', { event: 'a b', to: '**' }, TypeError],
    ['no reason', { event: 'refresh', to: '**', reason: '' }, TypeError],
    ['an unknown option', { event: 'refresh', to: '**', ack: true }, TypeError],
  ])('%s is refused before anything is opened', async ([, order, error]) => {
    const operator = createOperator({
      sql,
      transport: () => {
        throw new Error('opened')
      },
    })
    const sending = operator.bus.send({ ...note, ...order } as never)
    await (typeof error === 'function'
      ? expect(sending).rejects.toThrow(error as typeof TypeError)
      : expect(sending).rejects.toMatchObject(error))
    await expect(sending).rejects.not.toThrow('opened')
  })

  test('a secret that is too short is refused by name and not shown', () => {
    expect(() => createOperator({ sql, bus: { secret: 'hunter2' } })).toThrow(
      /createOperator\.bus\.secret: expected at least 32/,
    )
    expect(() => createOperator({ sql, bus: { secret: 'hunter2' } })).not.toThrow(/hunter2/)
  })

  test('instances that a membership knows are asked, where the bus takes its members from one', async () => {
    const broker = memoryBroker()
    const server = memoryStateServer()
    const schema = `bus_${++count}`
    const operator = createOperator({
      sql,
      schema,
      transport: () => memoryTransport({ broker }),
      cluster: memoryStateStore({ server }),
      bus: { cluster: 'shop' },
    })
    await operator.migrate({ ...note, parts: ['operator'] })
    const membership = createMembership({
      store: memoryStateStore({ server }),
      cluster: 'shop',
      service: 'orders',
      instance: 'o-1',
    })
    await membership.join()
    const bus = createBus({ service: 'orders', instance: 'o-1', members: () => membership.members() })
    const binder = createBinder({
      service: 'orders',
      transport: memoryTransport({ broker }),
      bindings: bus.bindings,
      sends: bus.channels,
    })
    onTestFinished(async () => {
      await bus.close()
      await binder.close()
      await membership.close()
    })
    await binder.start()
    await bus.start(binder)
    await bus.ready()
    expect(await operator.bus.members()).toEqual([{ service: 'orders', group: 'default', instance: 'o-1' }])
    const report = await operator.bus.send({ event: 'refresh', to: '**', dryRun: false, ...note })
    expect(report).toMatchObject({ acked: ['orders:default:o-1'], missing: [] })
  })

  test('waits no longer than it is told for who does not answer', async () => {
    const { operator, join } = await setup('memory')
    let isAsked = false
    await join({
      service: 'orders',
      instance: 'o-1',
      on: [
        onEvent(Cleared, async (_, { signal }) => {
          isAsked = true
          await until('the bus gives it up', () => signal.aborted)
        }),
      ],
      handlerTimeoutMs: 2_000,
    })
    const order = { event: 'cache-cleared', payload: { region: 'x' }, to: '**', dryRun: false, timeoutMs: 300, ...note }
    expect(await operator.bus.send(order)).toMatchObject({ acked: [], missing: ['orders:default:o-1'] })
    expect(isAsked).toBe(true)
  })
})
