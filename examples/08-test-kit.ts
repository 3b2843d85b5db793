/** Handler tests without a broker, with a controlled clock and faults on demand. Run: npm run example 08 */
import assert from 'node:assert/strict'
import { defineChannel, processor } from 'concordat/binder'
import { createTestKit } from 'concordat/testing'
import { z } from 'zod'

const orders = defineChannel('orders', {
  payload: z.object({ id: z.string(), cents: z.number() }),
  key: ({ id }) => id,
})
const receipts = defineChannel('receipts', { payload: z.object({ id: z.string(), paid: z.boolean() }) })

const charge = processor(orders, receipts, { group: 'payments' }, ({ id, cents }, { attempt, redelivered }) => {
  console.log(`${id}: attempt ${attempt}${redelivered ? ', redelivered' : ''}`)
  if (cents < 0) throw new Error('a negative amount')
  return { id, paid: true }
})

const kit = await createTestKit({ bindings: [charge] })
kit.loseNextAck(orders) // the order is handled, then delivered again
await kit.send(orders, { id: 'a', cents: 100 })
await kit.send(orders, { id: 'b', cents: -1 })
await kit.settled() // advances the clock past the pauses between attempts

// Both deliveries of an order produce a receipt with the same id, so an inbox drops the second one.
const sent = await kit.outputs(receipts)
assert.equal(sent.length, 2)
assert.equal(sent[0]?.id, sent[1]?.id)
const [letter] = kit.deadLetters(orders, 'payments')
console.log(`dead letter: ${letter?.key}, ${letter?.error.message}`)
await kit.close()

// Prints:
// a: attempt 1
// b: attempt 1
// b: attempt 2
// b: attempt 3
// a: attempt 1, redelivered
// dead letter: b, a negative amount
