import { migrate, quoteIdentifier, type SqlClient } from 'concordat/core'

/**
 * `submission`: every line that was ever submitted and what became of it, so that a line which is read again is known.
 * `purchase`: one row per order id. `digest` stands for the content: see `digestOf`.
 */
export async function migrateOrders(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, 'orders', [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.purchase (
           order_id text PRIMARY KEY, digest text NOT NULL, customer text NOT NULL, amount_cents bigint NOT NULL,
           status text NOT NULL DEFAULT 'received'
             CHECK (status IN ('received', 'pending', 'confirmed', 'declined', 'outOfStock')))`,
        `CREATE TABLE {schema}.submission (
           line bigint NOT NULL, digest text NOT NULL, order_id text NOT NULL,
           verdict text NOT NULL CHECK (verdict IN ('accepted', 'duplicate', 'conflict')), PRIMARY KEY (line, digest))`,
      ],
    },
  ])
}

export interface OrderTables {
  readonly purchase: string
  readonly submission: string
}

export function orderTables(schema: string): OrderTables {
  const quoted = quoteIdentifier(schema)
  return { purchase: `${quoted}.purchase`, submission: `${quoted}.submission` }
}
