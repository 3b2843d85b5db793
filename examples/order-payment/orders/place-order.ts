/**
 * The saga: open -> reserve (stock) -> charge (payments) -> confirm. A refusal compensates the completed steps, last
 * one first, and closes the order with the reason. `confirm` is the pivot: after it the saga can only complete.
 */
import { createHash } from 'node:crypto'
import { type CompensationContext, defineSaga } from 'concordat/saga'
import {
  OUT_OF_STOCK,
  orderConfirmed,
  orderSettled,
  paymentCommands,
  Submission,
  stockCommands,
  totalCents,
  unitsBySku,
} from '../contracts.ts'
import type { OrderTables } from './tables.ts'

/**
 * Retries a step until the database is back, so that only a participant's refusal rejects an order. Commands need no
 * retry policy: the coordinator repeats them until the participant answers.
 */
const RETRY = { maxAttempts: 1_000_000, initialMs: 200, maxMs: 2_000 } as const
const PATIENT_STEP = { transactional: true, retry: RETRY, compensationRetry: RETRY } as const

/**
 * Message id of an order's announcement: the same each time it is sent, so that receipts writes one receipt. Hashed,
 * because AMQP limits a message id to 255 bytes.
 */
export function announcementId(orderId: string): string {
  return `confirmed-${createHash('sha256').update(orderId).digest('hex')}`
}

export function placeOrderSaga({ purchase }: OrderTables) {
  return defineSaga('place-order', { version: 1, input: Submission })
    .step('open', {
      ...PATIENT_STEP,
      invoke: async ({ sagaId, tx }) => {
        await tx.query(`UPDATE ${purchase} SET status = 'pending' WHERE order_id = $1`, [sagaId])
      },
      compensate: async (context) => {
        const outcome = reasonOf(context)
        const { tx, sagaId: orderId, input } = context
        await tx.query(`UPDATE ${purchase} SET status = $2 WHERE order_id = $1`, [orderId, outcome])
        await tx.send(orderSettled, { line: input.line, orderId, outcome })
      },
    })
    .command('reserve', {
      to: stockCommands,
      request: ({ sagaId, input }) => ({ orderId: sagaId, items: [...unitsBySku(input.order)] }),
      compensate: true,
    })
    .command('charge', {
      to: paymentCommands,
      request: ({ sagaId, input: { order } }) => ({
        orderId: sagaId,
        customer: order.customer,
        card: order.card,
        amountCents: totalCents(order),
      }),
      compensate: true,
    })
    .step('confirm', {
      ...PATIENT_STEP,
      pivot: true,
      invoke: async ({ sagaId: orderId, input: { line, order }, tx }) => {
        await tx.query(`UPDATE ${purchase} SET status = 'confirmed' WHERE order_id = $1`, [orderId])
        const announcement = { orderId, customer: order.customer, amountCents: totalCents(order) }
        await tx.send(orderConfirmed, announcement, { id: announcementId(orderId) })
        await tx.send(orderSettled, { line, orderId, outcome: 'confirmed' })
      },
    })
}

export type PlaceOrder = ReturnType<typeof placeOrderSaga>

function reasonOf({ failure }: Pick<CompensationContext, 'failure'>): 'outOfStock' | 'declined' {
  return failure.code === OUT_OF_STOCK ? 'outOfStock' : 'declined'
}
