/** A service with every part of `createService`, on the servers that the environment names. Prints its results. */
import assert from 'node:assert/strict'
import { defineChannel, sink } from 'concordat/binder'
import { openTelemetry } from 'concordat/core/opentelemetry'
import { defineSaga, participant, Refusal } from 'concordat/saga'
import { createService } from 'concordat/service'
import { pino } from 'pino'
import { z } from 'zod'
import { place } from './place.ts'

const prefix = process.env['PREFIX'] ?? 'shop'
const Order = z.object({ orderId: z.string(), cents: z.number().int() })
const commands = defineChannel(`${prefix}.payments.commands`, { payload: Order, key: (order) => order.orderId })
const orderConfirmed = defineChannel(`${prefix}.orders.confirmed`, { payload: Order, key: (order) => order.orderId })
const never = defineChannel(`${prefix}.never`, { payload: Order })

const placeOrder = defineSaga('place-order', { version: 1, input: Order })
  .command('charge', {
    to: commands,
    request: ({ input }) => input,
    reply: z.object({ paid: z.number() }),
    compensate: true,
  })
  .step('confirm', { pivot: true, invoke: ({ results }) => `paid ${results.charge.paid}` })

const receipts = new Set<string>()
const allReceived = Promise.withResolvers<void>()
const led = Promise.withResolvers<string>()
const { sql, transport, locks, end } = await place()

await using shop = createService({
  name: prefix,
  sql,
  transport,
  locks,
  sagas: [placeOrder],
  bindings: [
    participant(
      commands,
      { group: 'payments' },
      {
        invoke: ({ cents }) => {
          if (cents > 10_000) throw new Refusal('payments.declined', 'over the limit')
          return { paid: cents }
        },
        compensate: () => {},
      },
    ),
    sink(orderConfirmed, { group: 'receipts', once: true }, async ({ orderId }, { tx }) => {
      await tx.query('INSERT INTO receipts VALUES ($1)', [orderId])
      if (receipts.add(orderId).size === 2) allReceived.resolve()
    }),
  ],
  sends: [orderConfirmed],
  leads: { settlement: (term) => led.resolve(term.role.replace(`${prefix}/`, '')) },
  schema: 'shop',
  logger: pino({ level: 'error' }),
  telemetry: openTelemetry(),
})

await sql.query('CREATE TABLE receipts (order_id text PRIMARY KEY)')
await shop.start()
await shop.ready()

const first = await shop.run(placeOrder, { id: 'o-1', input: { orderId: 'o-1', cents: 500 } })
console.log('o-1', (await first.outcome()).status)
await shop.send(orderConfirmed, { orderId: 'o-1', cents: 500 })
const second = await shop.transaction(async (tx) => {
  await tx.query('SELECT 1')
  await tx.send(orderConfirmed, { orderId: 'o-2', cents: 20_000 })
  return tx.start(placeOrder, { id: 'o-2', input: { orderId: 'o-2', cents: 20_000 } })
})
console.log('o-2', (await second.outcome()).status)
const undone = shop.transaction(async (tx) => {
  await tx.start(placeOrder, { id: 'o-3', input: { orderId: 'o-3', cents: 1 } })
  throw new Error('undone')
})
await assert.rejects(undone, /undone/)
console.log(
  'sagas',
  (await shop.coordinator?.list())
    ?.map(({ id }) => id)
    .sort()
    .join(' '),
)
await allReceived.promise
console.log('receipts', [...receipts].sort().join(' '))
console.log('leads', await led.promise)
const { status, live, ready } = shop.health()
console.log('health', status, live, ready)

// Undeclared channels and wrong payloads do not compile.
export const wrong = (): unknown => [
  // @ts-expect-error -- `cents` is a number
  shop.send(orderConfirmed, { orderId: 'o-1', cents: '5' }),
  // @ts-expect-error -- the channel is not among `sends`
  shop.send(never, { orderId: 'o-1', cents: 5 }),
  // @ts-expect-error -- the input has no `orderId`
  shop.run(placeOrder, { id: 'o-1', input: { cents: 5 } }),
]

// oxlint-disable-next-line unicorn/no-thenable -- the name of an option, which is never awaited
void shop.closeOnSignals({ then: [end] })
process.kill(process.pid, 'SIGTERM')
