import { migrate, quoteIdentifier, type SqlClient } from 'concordat/core'

/**
 * Creates two tables. `submission`: every submitted line with its verdict, to recognize a line that is read again.
 * `purchase`: one row per order id. `digest` is the hash of the content: see `digestOf`.
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
