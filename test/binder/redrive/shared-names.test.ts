import { type Channel, createBinder, defineChannel, redrive, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'

const payload = z.number()
/** Their groups `placed.stock` and `stock` have dead letters and retries in channels of one name. */
const orders = defineChannel('orders', { payload, groups: ['placed.stock'] })
const placed = defineChannel('orders.placed', { payload, groups: ['stock'] })

type Retry = 'blocking' | 'delayed'

/** Two services whose handlers fail while `isBroken`; each has been sent one message. */
async function setup(retry: Retry, maxAttempts: number) {
  const broker = memoryBroker()
  const state = { isBroken: true, handled: [] as string[] }
  const start = async (channel: Channel<number, number>, group: string) => {
    const options = { group, retry, maxAttempts, backoff: { initialMs: 1 } }
    const binding = sink(channel, options, (n) => {
      if (state.isBroken) throw new Error('closed')
      state.handled.push(`${channel.name} ${n}`)
    })
    const transport = memoryTransport({ broker })
    const binder = createBinder({ service: channel.name, transport, bindings: [binding], logger: silentLogger })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }
  const [first, second] = [await start(orders, 'placed.stock'), await start(placed, 'stock')]
  await first.send(orders, 1)
  await second.send(placed, 2)
  const statuses = () => [...first.bindings(), ...second.bindings()]
  return { broker, state, statuses }
}

const operator = (broker: ReturnType<typeof memoryBroker>) => ({
  service: 'operator',
  transport: memoryTransport({ broker }),
  logger: silentLogger,
})

it('a redrive lists and sends back the dead letters of its own group, though those of another are in a channel of the same name', async () => {
  const { broker, state, statuses } = await setup('blocking', 1)
  await until('both are dead letters', () => statuses().every(({ deadLettered }) => deadLettered === 1))
  state.isBroken = false
  const look = await redrive(operator(broker), orders, 'placed.stock', { dryRun: true, payloads: true })
  expect(look.letters.map(({ body }) => Buffer.from(body ?? []).toString())).toEqual(['1'])
  expect(await redrive(operator(broker), orders, 'placed.stock')).toMatchObject({ sent: 1, kept: 1, complete: true })
  expect(await redrive(operator(broker), placed, 'stock')).toMatchObject({ sent: 1, kept: 0, complete: true })
  await until('both are handled', () => state.handled.length === 2)
  expect(state.handled.sort()).toEqual(['orders 1', 'orders.placed 2'])
})

it('a delayed retry reaches the group that failed, and no group whose retries are in a channel of the same name', async () => {
  const { state, statuses } = await setup('delayed', 10)
  await until('both have failed', () => statuses().every(({ retried }) => retried > 0))
  state.isBroken = false
  await until('both are handled', () => state.handled.length >= 2)
  expect(state.handled.sort()).toEqual(['orders 1', 'orders.placed 2'])
})
