/** Handlers and steps use started parts when a service starts, as after each crash and deployment. */
import { type Binding, defineChannel, sink, source } from 'concordat/binder'
import { createBus, defineEvent, type WatchedConfig } from 'concordat/bus'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const Order = z.object({ orderId: z.string() })
const placed = defineChannel('orders.placed', { payload: Order, groups: ['shop'] })
const Noted = defineEvent('noted', { payload: Order })
const Switch = z.object({ isPaused: z.boolean() })

/** A broker that keeps a message for the group. */
async function brokerWithMessage() {
  const broker = memoryBroker()
  const sender = createService({ name: 'sender', transport: memoryTransport({ broker }), sends: [placed] })
  await sender.start()
  await sender.send(placed, { orderId: 'o-1' })
  await sender.close()
  return broker
}

/** A service whose bus loads a config once `open` was called; its bindings are made from it. */
async function startingShop(bindingsOf: (position: WatchedConfig<z.infer<typeof Switch>>) => readonly Binding[]) {
  const transport = memoryTransport({ broker: await brokerWithMessage() })
  const { opened, open } = gate()
  const bus = createBus({ service: 'shop' })
  const position = bus.config('switch', {
    schema: Switch,
    initial: { isPaused: false },
    load: () => opened.then(() => ({ value: { isPaused: true }, version: 1 })),
  })
  const shop = createService({ name: 'shop', transport, bindings: bindingsOf(position), bus: () => bus })
  onTestFinished(() => shop.close())
  const started = (): Promise<void> => {
    const starting = shop.start()
    return until('the bus loads its config', () => shop.health().parts['bus']?.status === 'down').then(() => {
      open()
      return starting
    })
  }
  return { shop, position, started }
}

async function turns(): Promise<void> {
  for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve))
}

describe('when a service with a bus starts', () => {
  test('its bindings begin after its configs were loaded', async () => {
    const seen: boolean[] = []
    const { started } = await startingShop((position) => [
      sink(placed, { group: 'shop' }, () => void seen.push(position.value.isPaused)),
      source(placed, { name: 'polls', everyMs: 5 }, () => void seen.push(position.value.isPaused)),
    ])
    await started()
    await until('the handler and the source were called', () => seen.length > 1)
    expect(seen).not.toContain(false)
  })

  test('a binding that a loaded config pauses handles nothing before it is resumed', async () => {
    const handled: string[] = []
    const { shop, position, started } = await startingShop(() => [
      sink(placed, { group: 'shop' }, ({ orderId }) => void handled.push(orderId)),
      source(placed, { name: 'polls', everyMs: 5 }, () => void handled.push('polled')),
    ])
    const controls = ['orders.placed.shop', 'polls'].map((name) => shop.binder.binding(name))
    position.subscribe(({ isPaused }) => controls.forEach((each) => (isPaused ? each.pause() : each.resume())))
    await started()
    await turns()
    expect(controls.map((each) => each.status().state)).toEqual(['paused', 'paused'])
    expect(handled).toEqual([])
    for (const each of controls) each.resume()
    await until('both run', () => handled.includes('o-1') && handled.includes('polled'))
  })

  test('handlers and steps of its sagas may publish at once', async () => {
    const broker = await brokerWithMessage()
    const schema = uniqueName('shop')
    const begun = gate()
    const failed: unknown[] = []
    let isSecond = false
    const note = defineSaga('note', { version: 1, input: Order }).step('publish', {
      compensate: 'none',
      retry: { maxAttempts: 1 },
      invoke: async ({ input }) => {
        begun.open()
        if (!isSecond) await new Promise(() => {})
        await shop.bus?.publish(Noted, input, { to: '**' })
      },
    })
    const create = (name: string): Service =>
      createService({
        name,
        schema,
        sql,
        transport: memoryTransport({ broker }),
        sagas: [note],
        bus: ({ service, instance }) => createBus({ service, instance }),
        drainTimeoutMs: 20,
        bindings: isSecond
          ? [
              sink(placed, { group: 'shop', maxAttempts: 1 }, async (order) => {
                await shop.bus?.publish(Noted, order, { to: '**' }).catch((error: unknown) => failed.push(error))
              }),
            ]
          : [],
      })
    let shop = create('shop')
    await shop.start()
    await shop.run(note, { id: 'o-1', input: { orderId: 'o-1' } })
    await begun.opened
    await shop.close()
    isSecond = true
    shop = create('shop')
    await shop.start()
    const run = await shop.run(note, { id: 'o-1', input: { orderId: 'o-1' } })
    expect((await run.outcome()).status).toBe('completed')
    await until('the message is handled', () => shop.binder.bindings().some(({ handled }) => handled > 0))
    await shop.close()
    expect(failed).toEqual([])
  })
})
