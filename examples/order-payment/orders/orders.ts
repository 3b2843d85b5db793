/** The orders service: takes submitted lines, runs the saga `place-order`, announces what was confirmed. */
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
        logger.error({ orderId: id, failure }, 'order is stuck, somebody has to look at it')
        void reportStuck(id, { service, tables }).catch((error: unknown) =>
          logger.error({ err: error }, 'not reported'),
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
 * A transport that forgets at a kill has forgotten the announcements that had left the outbox and had not reached the
 * receipts. They are all sent again under the ids they had; the inbox of the receipts drops those it knows.
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
