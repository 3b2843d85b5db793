/** The stock service: reserves goods, and gives them back when an order comes to nothing. */
import { sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { participant, Refusal } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { orderConfirmed, SOLD_OUT, stockCommands } from './channels.ts'
import type { Environment } from './environment.ts'

/** What a handler writes in `tx` happens once, however often its message is delivered. `effects: 'tx'`: only what was committed is compensated. */
const reservations = participant(
  stockCommands,
  { group: 'stock', effects: 'tx' },
  {
    invoke: async ({ sku, quantity }, { tx }) => {
      const taken = await tx.query('UPDATE shelf SET left_over = left_over - $2 WHERE sku = $1 AND left_over >= $2', [
        sku,
        quantity,
      ])
      if (taken.rowCount === 0) throw new Refusal(SOLD_OUT, `not ${quantity} of ${sku} are left`)
    },
    compensate: async ({ sku, quantity }, { tx }) => {
      await tx.query('UPDATE shelf SET left_over = left_over + $2 WHERE sku = $1', [sku, quantity])
    },
  },
)

const shipments = sink(orderConfirmed, { group: 'stock', inbox: true }, async ({ id, sku, quantity }, { tx }) => {
  await tx.query('INSERT INTO shipment (order_id, sku, quantity) VALUES ($1, $2, $3)', [id, sku, quantity])
})

export function stockService({ parts }: Environment): Service {
  return createService({ ...parts('stock'), name: 'stock', bindings: [reservations, shipments] })
}

/** The service's own tables. In production they belong into migrations. The lock is for instances that start together. */
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
