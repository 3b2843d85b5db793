/** Work that runs while a service closes, as in every deployment. */
import { defineChannel, sink } from 'concordat/binder'
import type { Membership } from 'concordat/cluster'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryLocks, memoryStateServer, memoryStateStore, memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const Order = z.object({ orderId: z.string() })
const placed = defineChannel('orders.placed', { payload: Order })

describe('while a service closes', () => {
  test('its cluster store closes before its locks, which close an embedded database', async () => {
    const closed: string[] = []
    const noting = <T extends { close(): Promise<void> }>(part: T, name: string): T =>
      new Proxy(part, {
        get(target, property) {
          if (property === 'close') return async () => void closed.push(name)
          const value: unknown = Reflect.get(target, property, target)
          return typeof value === 'function' ? (value as () => unknown).bind(target) : value
        },
      })
    const service = createService({
      name: 'shop',
      transport: memoryTransport(),
      locks: noting(memoryLocks(), 'locks'),
      cluster: { store: noting(memoryStateStore(), 'cluster') },
    })
    await service.start()
    await service.close()
    expect(closed).toEqual(['cluster', 'locks'])
  })

  test('it is not ready, although a handler that began before still runs', async () => {
    const [begun, mayEnd] = [gate(), gate()]
    const slow = sink(placed, { group: 'shop' }, async () => {
      begun.open()
      await mayEnd.opened
    })
    const shop = createService({ name: 'shop', transport: memoryTransport(), sends: [placed], bindings: [slow] })
    await shop.start()
    await shop.ready()
    await shop.send(placed, { orderId: 'o-0' })
    await begun.opened
    const closed = shop.close()
    expect(shop.health()).toMatchObject({ status: 'down', live: true, ready: false })
    mayEnd.open()
    await closed
  })

  test('a handler that runs still commits, sends and starts a saga, and its message is no dead letter', async () => {
    const [begun, closing] = [gate(), gate()]
    const ship = defineSaga('ship', { version: 1, input: Order }).step('pack', { invoke: () => 'yes', pivot: true })
    const failed: unknown[] = []
    const shop: Service = createService({
      name: 'shop',
      schema: uniqueName('shop'),
      sql,
      transport: memoryTransport(),
      sagas: [ship],
      sends: [placed],
      bindings: [
        sink(placed, { group: 'shop', maxAttempts: 1 }, async (order) => {
          begun.open()
          await closing.opened
          const work = shop.transaction((tx) => tx.start(ship, { id: order.orderId, input: order }))
          await work.catch((error: unknown) => failed.push(error))
          await (await shop.run(ship, { id: order.orderId, input: order })).outcome()
        }),
      ],
    })
    await shop.start()
    await shop.ready()
    await shop.send(placed, { orderId: 'o-1' })
    await begun.opened
    const closed = shop.close()
    closing.open()
    await closed
    expect(failed).toEqual([])
    expect(shop.binder.bindings().find(({ group }) => group === 'shop')).toMatchObject({ handled: 1, deadLettered: 0 })
    await expect(shop.transaction(async () => {})).rejects.toMatchObject({ code: 'service.closed' })
  })

  test('a handler and a step that run still read and write a shared state', async () => {
    const [begun, closing, handled] = [gate(), gate(), gate()]
    const compensated: string[] = []
    const store = memoryStateStore()
    const count = defineSaga('count', { version: 1, input: Order })
      .step('reserve', { invoke: () => 'yes', compensate: () => void compensated.push('reserve') })
      .step('add', {
        compensate: 'none',
        retry: { maxAttempts: 1 },
        invoke: async ({ input }) => {
          begun.open()
          await closing.opened
          await shop.sharedState('counts').put(input.orderId, 1)
        },
      })
    const shop: Service = createService({
      name: 'shop',
      schema: uniqueName('shop'),
      sql,
      transport: memoryTransport(),
      cluster: { store },
      sagas: [count],
      sends: [placed],
      bindings: [
        sink(placed, { group: 'shop', maxAttempts: 1 }, async ({ orderId }) => {
          handled.open()
          await closing.opened
          await shop.sharedState('orders').put(orderId, 1)
        }),
      ],
    })
    await shop.start()
    await shop.ready()
    const run = await shop.run(count, { id: 'o-1', input: { orderId: 'o-1' } })
    const outcome = run.outcome()
    await shop.send(placed, { orderId: 'o-1' })
    await Promise.all([begun.opened, handled.opened])
    const closed = shop.close()
    closing.open()
    expect((await outcome).status).toBe('completed')
    await closed
    expect(compensated).toEqual([])
    expect(shop.binder.bindings().find(({ group }) => group === 'shop')).toMatchObject({ handled: 1 })
  })

  test.for([{ transactional: true }, { transactional: false }])(
    'a step that may be tried once and finds its membership closed is called again by the next process: %o',
    async ({ transactional }) => {
      const [begun, closing] = [gate(), gate()]
      const compensated: string[] = []
      const [schema, broker, server] = [uniqueName('shop'), memoryBroker(), memoryStateServer()]
      const bind = async (id: string): Promise<void> => {
        begun.open()
        await closing.opened
        await shop.sharedState('jobs').put(id, 1, { boundTo: await (shop.membership as Membership).join() })
      }
      const job = defineSaga('job', { version: 1, input: Order })
        .step('reserve', { invoke: () => 'yes', compensate: () => void compensated.push('reserve') })
        .step('bind', {
          transactional,
          compensate: 'none',
          retry: { maxAttempts: 1 },
          invoke: ({ input }) => bind(input.orderId),
        })
      const create = (): Service =>
        createService({
          name: 'shop',
          schema,
          sql,
          transport: memoryTransport({ broker }),
          sagas: [job],
          cluster: { store: memoryStateStore({ server }) },
        })
      let shop = create()
      await shop.start()
      await shop.run(job, { id: 'o-1', input: { orderId: 'o-1' } })
      await begun.opened
      const closed = shop.close()
      await until('it has left', () => shop.membership?.status().state === 'closed')
      closing.open()
      await closed
      shop = create()
      await shop.start()
      const run = await shop.run(job, { id: 'o-1', input: { orderId: 'o-1' } })
      expect((await run.outcome()).status).toBe('completed')
      expect(compensated).toEqual([])
      await shop.close()
    },
  )

  test('a step that runs still commits, and one that finds a part closed compensates nothing', async () => {
    const [begun, closing] = [gate(), gate()]
    const compensated: string[] = []
    const schema = uniqueName('shop')
    const broker = memoryBroker()
    let isSecond = false
    const other = createService({ name: 'other', schema: uniqueName('other'), sql, transport: memoryTransport() })
    await other.close()
    const order = defineSaga('order', { version: 1, input: Order })
      .step('reserve', { invoke: () => 'yes', compensate: () => void compensated.push('reserve') })
      .step('pay', {
        compensate: () => {},
        invoke: async () => {
          begun.open()
          await closing.opened
          await shop.transaction(async () => {})
          if (!isSecond) await other.transaction(async () => {})
        },
      })
    const create = (): Service =>
      createService({ name: 'shop', schema, sql, transport: memoryTransport({ broker }), sagas: [order] })
    let shop = create()
    await shop.start()
    await shop.run(order, { id: 'o-1', input: { orderId: 'o-1' } })
    await begun.opened
    const closed = shop.close()
    closing.open()
    await closed
    isSecond = true
    shop = create()
    await shop.start()
    const run = await shop.run(order, { id: 'o-1', input: { orderId: 'o-1' } })
    expect((await run.outcome()).status).toBe('completed')
    expect(compensated).toEqual([])
    await shop.close()
  })
})
