/** The receipts service: writes one receipt per confirmed order, even if the announcement arrives several times. */
import { sink } from 'concordat/binder'
import { migrate, quoteIdentifier, type SqlClient } from 'concordat/core'
import { orderConfirmed } from '../contracts.ts'
import { type ServiceEnvironment } from '../environment.ts'
import { PATIENT, type RunningService, serviceIn, start } from '../service.ts'

export async function startReceipts(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema } = environment
  await migrateReceipts(sql, schema)
  const write = sink(
    orderConfirmed,
    { ...PATIENT, group: 'receipts', concurrency: 8, once: true },
    async ({ orderId, customer, amountCents }, { tx }) => {
      await tx.query(`INSERT INTO ${quoteIdentifier(schema)}.receipt (order_id, customer, cents) VALUES ($1, $2, $3)`, [
        orderId,
        customer,
        String(amountCents),
      ])
    },
  )
  return start(serviceIn(environment, { name: 'receipts', bindings: [write] }), environment)
}

/** Creates the table without a unique order id: the inbox ensures one receipt per order, and the audit checks it. */
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
