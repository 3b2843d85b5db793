/** The orders service: takes submitted lines, runs the saga `place-order`, announces what was confirmed. */
import { type Binder, createBinder } from 'concordat/binder'
import type { Outbox } from 'concordat/outbox'
import { type Coordinator, createCoordinator } from 'concordat/saga'
import { keepBoardLine } from '../board.ts'
import { orderConfirmed, orderSettled } from '../contracts.ts'
import { closeAll, outboxOf, type RunningService, relayOf, type ServiceEnvironment } from '../service.ts'
import { announcementId, placeOrderSaga } from './place-order.ts'
import { reportStuck, submissions } from './submissions.ts'
import { migrateOrders, type OrderTables, orderTables } from './tables.ts'

export async function startOrders(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, transport, logger, instance, leaseMs } = environment
  const outbox = outboxOf(environment, 'orders')
  const tables = orderTables(schema)
  const placeOrder = placeOrderSaga(outbox, tables)
  const coordinator = createCoordinator({
    service: 'orders',
    sql,
    outbox,
    sagas: [placeOrder],
    schema,
    instance,
    leaseMs,
    onStuck: ({ id, failure }) => {
      logger.error({ orderId: id, failure }, 'order is stuck, somebody has to look at it')
      void reportStuck(id, { sql, tables, outbox }).catch((error: unknown) =>
        logger.error({ err: error }, 'not reported'),
      )
    },
    logger,
  })
  await migrateOrders(sql, schema)
  await outbox.migrate()
  await coordinator.migrate()
  const binder = createBinder({
    service: 'orders',
    transport,
    bindings: [submissions({ sql, outbox, coordinator, placeOrder, tables }), ...coordinator.bindings],
    sends: [...coordinator.channels, orderSettled, orderConfirmed],
    instance,
    logger,
  })
  const relay = relayOf(environment, outbox, binder)
  const durable = transport.features.durable === true
  await run(binder, coordinator, relay, durable)
  if (!durable) await announceAgain(environment, tables, outbox)
  const line = keepBoardLine(environment, binder)
  return { close: () => closeAll([coordinator, binder, relay, line]) }
}

async function run(
  binder: Binder,
  coordinator: Coordinator,
  relay: { start(): Promise<void> },
  durable: boolean,
): Promise<void> {
  await binder.start()
  await relay.start()
  // A transport that forgets at a kill has forgotten the commands that nobody had answered.
  await coordinator.run({ resend: !durable })
}

/**
 * ... and the announcements that had left the outbox and had not reached the receipts. They are all sent again under
 * the ids they had; the inbox of the receipts drops those it knows.
 */
async function announceAgain({ sql }: ServiceEnvironment, { purchase }: OrderTables, outbox: Outbox): Promise<void> {
  await sql.transaction(async (tx) => {
    const confirmed = await tx.query<{ orderId: string; customer: string; amountCents: string }>(
      `SELECT order_id AS "orderId", customer, amount_cents::text AS "amountCents" FROM ${purchase}
       WHERE status = 'confirmed'`,
    )
    for (const { orderId, customer, amountCents } of confirmed.rows) {
      const announcement = { orderId, customer, amountCents: Number(amountCents) }
      await outbox.add(tx, orderConfirmed, announcement, { id: announcementId(orderId) })
    }
  })
}
