/** The orders service: records submitted lines, runs the saga `place-order`, announces confirmed orders. */
import type { Service } from 'concordat/service'
import { orderConfirmed, orderSettled } from '../contracts.ts'
import { type ServiceEnvironment } from '../environment.ts'
import { type RunningService, serviceIn, start } from '../service.ts'
import { announcementId, placeOrderSaga } from './place-order.ts'
import { reportStuck, submissions } from './submissions.ts'
import { migrateOrders, type OrderTables, orderTables } from './tables.ts'

export async function startOrders(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, transport, logger } = environment
  const tables = orderTables(schema)
  const service = (): Service => orders
  const placeOrder = placeOrderSaga(tables)
  const orders: Service = serviceIn(environment, {
    name: 'orders',
    sagas: [placeOrder],
    bindings: [submissions({ service, placeOrder, tables })],
    sends: [orderSettled, orderConfirmed],
    coordinator: {
      onStuck: ({ id, failure }) => {
        logger.error({ orderId: id, failure }, 'order is stuck, an operator must resolve it')
        void reportStuck(id, { service, tables }).catch((error: unknown) =>
          logger.error({ err: error }, 'the stuck order was not reported to the intake'),
        )
      },
    },
  })
  await migrateOrders(sql, schema)
  const running = await start(orders, environment)
  if (transport.features.durable !== true) await announceAgain(orders, tables)
  return running
}

/**
 * Sends the announcement of every confirmed order again, under its first id. A transport that is not durable loses
 * announcements at a kill after they have left the outbox; the inbox of receipts drops those it already processed.
 */
async function announceAgain(orders: Service, { purchase }: OrderTables): Promise<void> {
  await orders.transaction(async (tx) => {
    const confirmed = await tx.query<{ orderId: string; customer: string; amountCents: string }>(
      `SELECT order_id AS "orderId", customer, amount_cents::text AS "amountCents" FROM ${purchase}
       WHERE status = 'confirmed'`,
    )
    for (const { orderId, customer, amountCents } of confirmed.rows) {
      const announcement = { orderId, customer, amountCents: Number(amountCents) }
      await tx.send(orderConfirmed, announcement, { id: announcementId(orderId) })
    }
  })
}
