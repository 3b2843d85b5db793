/** The stock service: reserves goods, and returns them to the shelf when an order fails. */
import { sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { participant, Refusal } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { orderConfirmed, SOLD_OUT, stockCommands } from './channels.ts'
import type { Environment } from './environment.ts'

/**
 * The writes of a handler in `tx` take effect once, even if its message is delivered more than once. With
 * `effects: 'tx'`, only committed writes are compensated.
 */
const reservations = participant(
  stockCommands,
  { group: 'stock', effects: 'tx' },
  {
    invoke: async ({ sku, quantity }, { tx }) => {
      const taken = await tx.query('UPDATE shelf SET left_over = left_over - $2 WHERE sku = $1 AND left_over >= $2', [
        sku,
        quantity,
      ])
      if (taken.rowCount === 0) throw new Refusal(SOLD_OUT, `fewer than ${quantity} of ${sku} are left`)
    },
    compensate: async ({ sku, quantity }, { tx }) => {
      await tx.query('UPDATE shelf SET left_over = left_over + $2 WHERE sku = $1', [sku, quantity])
    },
  },
)

const shipments = sink(orderConfirmed, { group: 'stock', once: true }, async ({ id, sku, quantity }, { tx }) => {
  await tx.query('INSERT INTO shipment (order_id, sku, quantity) VALUES ($1, $2, $3)', [id, sku, quantity])
})

export function stockService({ parts }: Environment): Service {
  return createService({ ...parts('stock'), name: 'stock', bindings: [reservations, shipments] })
}

/**
 * Creates the tables of the service and fills the shelves. In production, create tables in migrations. The lock is for
 * instances that start at the same time.
 */
export async function fillShelves(sql: SqlClient, shelves: Readonly<Record<string, number>>): Promise<void> {
  await sql.transaction(async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtext('tables of stock'))`)
    await tx.query('CREATE TABLE IF NOT EXISTS shelf (sku text PRIMARY KEY, left_over int NOT NULL)')
    await tx.query('CREATE TABLE IF NOT EXISTS shipment (order_id text PRIMARY KEY, sku text, quantity int)')
  })
  for (const [sku, quantity] of Object.entries(shelves)) {
    await sql.query('INSERT INTO shelf VALUES ($1, $2) ON CONFLICT (sku) DO UPDATE SET left_over = $2', [sku, quantity])
  }
}
