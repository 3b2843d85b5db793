/**
 * Example 01 on Kafka instead of the memory transport. Run: KAFKA_BROKERS=127.0.0.1:9092 npm run example 07
 * `npm run servers` in this repository starts Kafka on this machine.
 */
import { defineChannel, processor, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { createService } from 'concordat/service'
import { Kafka } from 'kafkajs'
import { z } from 'zod'

const brokers = (process.env['KAFKA_BROKERS'] ?? '127.0.0.1:9092').split(',')
const prefix = process.env['PREFIX'] ?? 'example'

const Order = z.object({ orderId: z.string(), cents: z.number().int().positive() })
const Payment = z.object({ orderId: z.string(), accepted: z.boolean() })
const orderPlaced = defineChannel(`${prefix}.orders.placed`, { payload: Order, key: (order) => order.orderId })
const paymentMade = defineChannel(`${prefix}.payments.made`, { payload: Payment, key: (payment) => payment.orderId })

const heard = Promise.withResolvers<void>()
const shop = createService({
  name: 'shop',
  transport: kafkaTransport({ kafka: new Kafka({ brokers, logLevel: 1 }) }),
  bindings: [
    processor(orderPlaced, paymentMade, { group: 'payments', concurrency: 8 }, ({ orderId, cents }) => {
      return { orderId, accepted: cents <= 10_000 }
    }),
    sink(paymentMade, { group: 'receipts' }, ({ orderId, accepted }) => {
      console.log(`${orderId} ${accepted ? 'accepted' : 'declined'}`)
      heard.resolve()
    }),
  ],
  sends: [orderPlaced],
})
await shop.start()
await shop.ready()
await shop.send(orderPlaced, { orderId: 'o-1', cents: 4_200 })
await heard.promise
await shop.close()

// Prints:
// o-1 accepted
