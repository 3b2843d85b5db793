/**
 * The orders of the example as a saga of local steps, for one process with one database: every effect in the
 * transaction that advances the saga, the bank a step of its own. An order writes the same rows as with DBOS.
 */
import type { SqlTransaction } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, Refusal } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { z } from 'zod'
import { bank, type Order, serveOrders } from './serve-orders.ts'
import { charge, close, open, type Query, refund, release, reserve } from './statements.ts'

const [url = '', file = '', connections = ''] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: url, max: Number(connections) })
const sql = pgClient(pool, { preparedStatements: true })
const queryOf =
  (tx: SqlTransaction): Query =>
  (text, parameters) =>
    tx.query(text, parameters)
const input = z.object({ line: z.number().int(), order: z.custom<Order>() })

const placeOrder = defineSaga('place-order', { version: 1, input })
  .step('open', {
    transactional: true,
    invoke: ({ input: { line, order }, tx }) => open(queryOf(tx), line, order),
    compensate: ({ input: { order }, failure, tx }) => close(queryOf(tx), order, failure.code),
  })
  .step('reserve', {
    transactional: true,
    invoke: async ({ input: { order }, tx }) => {
      if (!(await reserve(queryOf(tx), order))) throw new Refusal('outOfStock', 'there is not so much')
    },
    compensate: ({ input: { order }, tx }) => release(queryOf(tx), order.orderId),
  })
  .step('bank', {
    invoke: async ({ input: { order } }) => {
      if ((await bank(order)) === 'declined') throw new Refusal('declined', 'the bank declined the card')
    },
    compensate: 'none',
  })
  .step('charge', {
    transactional: true,
    invoke: async ({ input: { order }, tx }) => {
      if (!(await charge(queryOf(tx), order))) throw new Refusal('declined', 'the balance is too small')
    },
    compensate: ({ input: { order }, tx }) => refund(queryOf(tx), order),
  })
  .step('close', {
    transactional: true,
    pivot: true,
    invoke: ({ input: { order }, tx }) => close(queryOf(tx), order, 'confirmed'),
  })

const outbox = createOutbox({ sql, service: 'orders' })
const coordinator = createCoordinator({ service: 'orders', sql, outbox, sagas: [placeOrder] })
await outbox.migrate()
await coordinator.migrate()
await coordinator.run()

serveOrders(file, async (line, order) => {
  const run = await coordinator.start(placeOrder, { id: order.orderId, input: { line, order } })
  const outcome = await run.outcome()
  return outcome.status === 'completed' ? 'confirmed' : outcome.failure.code
})
