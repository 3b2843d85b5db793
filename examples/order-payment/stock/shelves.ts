/** The shelves: units per sku, and reservations per order. `available` = `opening` less the units held. */
import { migrate, quoteIdentifier, type SqlClient, type SqlTransaction } from 'concordat/core'
import { Refusal } from 'concordat/saga'
import { OUT_OF_STOCK, type Reserve } from '../contracts.ts'
import { readOpeningFile } from '../opening-file.ts'

export interface ShelfTables {
  readonly shelf: string
  readonly reservation: string
  readonly filled: string
}

export function shelfTables(schema: string): ShelfTables {
  const quoted = quoteIdentifier(schema)
  return { shelf: `${quoted}.shelf`, reservation: `${quoted}.reservation`, filled: `${quoted}.filled` }
}

export async function migrateShelves(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, 'stock', [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.shelf (
           sku text PRIMARY KEY, opening bigint NOT NULL, available bigint NOT NULL CHECK (available >= 0))`,
        `CREATE TABLE {schema}.reservation (
           saga_key text NOT NULL, order_id text NOT NULL, sku text NOT NULL, quantity bigint NOT NULL CHECK (quantity > 0),
           released boolean NOT NULL DEFAULT false, PRIMARY KEY (saga_key, sku))`,
        `CREATE TABLE {schema}.filled (mark boolean PRIMARY KEY DEFAULT true CHECK (mark))`,
      ],
    },
  ])
}

/** Loads the opening stock once, at the first start of any instance: one commit writes the mark and the shelves. */
export async function fillShelves(sql: SqlClient, { shelf, filled }: ShelfTables, file: string): Promise<void> {
  const stock = [...(await readOpeningFile(file, 'stock'))]
  await sql.transaction(async (tx) => {
    const first = await tx.query(`INSERT INTO ${filled} DEFAULT VALUES ON CONFLICT DO NOTHING`)
    if (first.rowCount === 0) return
    await tx.query(
      `INSERT INTO ${shelf} (sku, opening, available) SELECT sku, units, units FROM unnest($1::text[], $2::bigint[]) AS s(sku, units)`,
      [stock.map(([sku]) => sku), stock.map(([, units]) => String(units))],
    )
  })
}

/** Reserves the items. @throws Refusal when a sku is unknown or has too few units; nothing is reserved then */
export async function reserve(
  tx: SqlTransaction,
  { shelf, reservation }: ShelfTables,
  key: string,
  { orderId, items }: Reserve,
): Promise<void> {
  const skus = items.map((item) => item.sku)
  const units = items.map((item) => String(item.quantity))
  // Locks the rows in sku order, so that two orders with the same skus do not deadlock.
  const found = await tx.query<{ sku: string; available: string }>(
    `SELECT sku, available::text AS available FROM ${shelf} WHERE sku = ANY($1) ORDER BY sku FOR UPDATE`,
    [skus],
  )
  const available = new Map(found.rows.map((row) => [row.sku, Number(row.available)]))
  for (const { sku, quantity } of items) {
    const left = available.get(sku)
    if (left === undefined) throw new Refusal(OUT_OF_STOCK, `sku "${sku}" is unknown`)
    if (left < quantity) throw new Refusal(OUT_OF_STOCK, `sku "${sku}": ${left} left, ${quantity} wanted`)
  }
  await tx.query(
    `WITH want AS (SELECT w.sku, w.quantity FROM unnest($1::text[], $2::bigint[]) AS w(sku, quantity)),
     taken AS (UPDATE ${shelf} s SET available = s.available - want.quantity FROM want WHERE s.sku = want.sku)
     INSERT INTO ${reservation} (saga_key, order_id, sku, quantity) SELECT $3, $4, sku, quantity FROM want`,
    [skus, units, key, orderId],
  )
}

/** Releases the reservation of this key once. Does nothing without a reservation. */
export async function release(tx: SqlTransaction, { shelf, reservation }: ShelfTables, key: string): Promise<void> {
  await tx.query(
    `SELECT 1 FROM ${shelf} WHERE sku IN (SELECT sku FROM ${reservation} WHERE saga_key = $1) ORDER BY sku FOR UPDATE`,
    [key],
  )
  await tx.query(
    `WITH back AS (
       UPDATE ${reservation} SET released = true WHERE saga_key = $1 AND NOT released RETURNING sku, quantity
     )
     UPDATE ${shelf} s SET available = s.available + back.quantity FROM back WHERE s.sku = back.sku`,
    [key],
  )
}
