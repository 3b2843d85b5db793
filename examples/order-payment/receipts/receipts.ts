/** The receipts service: one receipt per confirmed order, however often the announcement comes. */
import { createBinder, sink } from 'concordat/binder'
import { migrate, quoteIdentifier, type SqlClient } from 'concordat/core'
import { createInbox } from 'concordat/outbox'
import { keepBoardLine } from '../board.ts'
import { orderConfirmed } from '../contracts.ts'
import { closeAll, PATIENT, type RunningService, type ServiceEnvironment } from '../service.ts'

export async function startReceipts(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, transport, logger, instance } = environment
  const inbox = createInbox({ sql, schema, logger })
  await inbox.migrate()
  await migrateReceipts(sql, schema)
  const write = sink(
    orderConfirmed,
    { ...PATIENT, group: 'receipts', concurrency: 8, inbox },
    async ({ orderId, customer, amountCents }, { tx }) => {
      await tx.query(`INSERT INTO ${quoteIdentifier(schema)}.receipt (order_id, customer, cents) VALUES ($1, $2, $3)`, [
        orderId,
        customer,
        String(amountCents),
      ])
    },
  )
  const binder = createBinder({ service: 'receipts', transport, bindings: [write], instance, logger })
  await binder.start()
  const line = keepBoardLine(environment, binder)
  return { close: () => closeAll([binder, line]) }
}

/** No unique order id: that there is one receipt per order is the inbox's doing, and the audit checks it. */
export async function migrateReceipts(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, 'receipts', [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.receipt (
           number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL, customer text NOT NULL,
           cents bigint NOT NULL)`,
      ],
    },
  ])
}
