/** A saga: a transaction of several steps that completes, or is undone in reverse order. Run: npm run example 04 */
import { PGlite } from '@electric-sql/pglite'
import { defineChannel } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, participant, Refusal } from 'concordat/saga'
import { createService } from 'concordat/service'
import { z } from 'zod'

const Order = z.object({ orderId: z.string(), cents: z.number().int() })
const paymentCommands = defineChannel('payments.commands', { payload: Order })
const say = (what: string) => (step: { input: { orderId: string } }) => console.log(`${step.input.orderId}: ${what}`)

const placeOrder = defineSaga('place-order', { version: 1, input: Order })
  .step('reserve', { invoke: say('stock reserved'), compensate: say('stock released') })
  .command('charge', { to: paymentCommands, request: ({ input }) => input, compensate: true })
  .step('confirm', { pivot: true, invoke: say('confirmed') }) // pivot: once it is done, nothing is undone

const database = await PGlite.create()
const shop = createService({
  name: 'shop',
  sql: pgliteClient(database),
  transport: memoryTransport(),
  sagas: [placeOrder],
  bindings: [
    // The participant that handles the command. It is usually part of another service with its own database.
    participant(
      paymentCommands,
      { group: 'payments' },
      {
        invoke: ({ orderId, cents }) => {
          if (cents > 10_000) throw new Refusal('payments.declined', 'over the limit')
          console.log(`${orderId}: charged ${cents}`)
        },
        compensate: ({ orderId }) => console.log(`${orderId}: refunded`),
      },
    ),
  ],
})
await shop.start()
for (const order of [
  { orderId: 'o-1', cents: 4_200 },
  { orderId: 'o-2', cents: 42_000 },
]) {
  const run = await shop.run(placeOrder, { id: order.orderId, input: order })
  console.log(`${order.orderId}: ${(await run.outcome()).status}`)
}
await shop.close()
await database.close()

// Prints:
// o-1: stock reserved
// o-1: charged 4200
// o-1: confirmed
// o-1: completed
// o-2: stock reserved
// o-2: stock released
// o-2: compensated
