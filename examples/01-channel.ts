/** A channel, a processor and a sink in one process, without a server. Run: npm run example 01 */
import { defineChannel, processor, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { z } from 'zod'

const Order = z.object({ orderId: z.string(), cents: z.number().int().positive() })
const Payment = z.object({ orderId: z.string(), accepted: z.boolean() })

// Messages with the same key are handled one at a time, in the order they were sent.
const orderPlaced = defineChannel('orders.placed', { payload: Order, key: (order) => order.orderId })
const paymentMade = defineChannel('payments.made', { payload: Payment, key: (payment) => payment.orderId })

const heard = Promise.withResolvers<void>()
const shop = createService({
  name: 'shop',
  transport: memoryTransport(),
  bindings: [
    // The binder acknowledges the order after the broker has confirmed the returned payment.
    processor(orderPlaced, paymentMade, { group: 'payments', concurrency: 8 }, ({ orderId, cents }) => {
      return { orderId, accepted: cents <= 10_000 }
    }),
    sink(paymentMade, { group: 'receipts' }, ({ orderId, accepted }) => {
      console.log(`${orderId} ${accepted ? 'accepted' : 'declined'}`)
      if (orderId === 'o-2') heard.resolve()
    }),
  ],
  sends: [orderPlaced],
})
await shop.start()
await shop.send(orderPlaced, { orderId: 'o-1', cents: 4_200 })
await shop.send(orderPlaced, { orderId: 'o-2', cents: 42_000 })
await heard.promise
await shop.close()

// Prints:
// o-1 accepted
// o-2 declined
