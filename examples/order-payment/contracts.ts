/**
 * Channels between the services: every message that can be sent, each with a name, a schema and a key.
 *
 *   intake --orders.submitted--> orders --stock.commands--> stock --orders.saga-replies--> orders
 *                                       --payments.commands--> payments --orders.saga-replies--> orders
 *                                       --order.confirmed--> receipts
 *                                       --orders.settled--> intake
 *   intake --payments.close-books--> payments --payments.books-closed--> intake
 */
import { defineChannel } from 'concordat/binder'
import { z } from 'zod'
import { amount, name, quantity, totalIssue } from './fields.ts'

export const OrderLine = z.object(
  { sku: name, quantity, unitPriceCents: amount },
  { error: 'expected an object with sku, quantity and unitPriceCents' },
)

/** An order as a customer places it. The schema ignores other fields. */
export const Order = z
  .object(
    {
      orderId: name,
      customer: name,
      card: name,
      lines: z.array(OrderLine, { error: 'expected a list of lines' }).min(1, { error: 'expected at least one line' }),
    },
    { error: 'expected an object with orderId, customer, card and lines' },
  )
  .check((context) => {
    const issue = totalIssue(context.value.lines)
    if (issue !== undefined) context.issues.push({ code: 'custom', input: context.value, path: ['lines'], ...issue })
  })
export type Order = z.infer<typeof Order>

/** A line of the orders file that is a valid order. `line` is its number in the file, from 1. */
export const Submission = z.object({ line: z.int().positive(), order: Order })
export type Submission = z.infer<typeof Submission>

/** Outcome of a line. `duplicate`: the same order again; `conflict`: a different order under a known id, refused. */
export const OUTCOMES = ['confirmed', 'declined', 'outOfStock', 'duplicate', 'conflict', 'stuck'] as const
export type Outcome = (typeof OUTCOMES)[number]

const Settled = z.object({ line: z.int().positive(), orderId: name, outcome: z.enum(OUTCOMES) })

export const orderSubmitted = defineChannel('orders.submitted', {
  payload: Submission,
  key: ({ order }) => order.orderId,
  groups: ['orders'],
})

export const orderSettled = defineChannel('orders.settled', {
  payload: Settled,
  key: ({ orderId }) => orderId,
  groups: ['intake'],
})

const Confirmed = z.object({ orderId: name, customer: name, amountCents: z.int().nonnegative() })

export const orderConfirmed = defineChannel('order.confirmed', {
  payload: Confirmed,
  key: ({ orderId }) => orderId,
  groups: ['receipts'],
})

/** Command to reserve the units of an order, all or none. Lists each sku once. */
const Reserve = z.object({
  orderId: name,
  items: z.array(z.object({ sku: name, quantity })).min(1),
})
export type Reserve = z.infer<typeof Reserve>

export const stockCommands = defineChannel('stock.commands', { payload: Reserve, groups: ['stock'] })

const Charge = z.object({ orderId: name, customer: name, card: name, amountCents: z.int().nonnegative() })
export type Charge = z.infer<typeof Charge>

export const paymentCommands = defineChannel('payments.commands', { payload: Charge, groups: ['payments'] })

/** Codes of a participant's refusal; the saga's failure carries the code. */
export const OUT_OF_STOCK = 'stock.out_of_stock'
export const DECLINED_BY_BANK = 'payments.declined_by_bank'
export const DECLINED_BY_BALANCE = 'payments.declined_by_balance'

const Closing = z.object({ closing: name })

/** Asks the payments leader to close the books under this name. A repeated request gets the answer again. */
export const closeBooks = defineChannel('payments.close-books', {
  payload: Closing,
  key: ({ closing }) => closing,
  groups: ['payments'],
  partitions: 1,
})

export const booksClosed = defineChannel('payments.books-closed', {
  payload: z.object({ closing: name, term: z.int().positive() }),
  key: ({ closing }) => closing,
  groups: ['intake'],
  partitions: 1,
})

/** All channels, so that a process can create them before the first message. */
export const CHANNELS = [
  orderSubmitted,
  orderSettled,
  orderConfirmed,
  stockCommands,
  paymentCommands,
  closeBooks,
  booksClosed,
] as const

/** Total price of the order. Exact, because `Order` refuses a total over Number.MAX_SAFE_INTEGER. */
export function totalCents(order: Order): number {
  return order.lines.reduce((sum, line) => sum + line.quantity * line.unitPriceCents, 0)
}

/** Units per sku, sorted by sku. Adds up the lines of the same sku. */
export function unitsBySku(order: Order): ReadonlyArray<{ readonly sku: string; readonly quantity: number }> {
  const units = new Map<string, number>()
  for (const { sku, quantity } of order.lines) units.set(sku, (units.get(sku) ?? 0) + quantity)
  return [...units].map(([sku, quantity]) => ({ sku, quantity })).toSorted((a, b) => (a.sku < b.sku ? -1 : 1))
}
