/**
 * The audit: reads the tables of all services at the end of a run. No service reads the schema of another.
 */
import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { orderTables } from '../orders/tables.ts'
import { ledgerTables } from '../payments/ledger.ts'
import { shelfTables } from '../stock/shelves.ts'

/** Database schema of each service. */
export interface Schemas {
  readonly orders: string
  readonly payments: string
  readonly stock: string
  readonly receipts: string
}

export interface Audit {
  readonly orders: {
    readonly duplicate: number
    readonly conflict: number
    readonly confirmed: number
    readonly declined: number
    readonly outOfStock: number
    /** Orders without a final state, for any reason. */
    readonly stuck: number
  }
  readonly ledger: {
    readonly openingCents: number
    readonly chargedCents: number
    readonly refundedCents: number
    readonly closingCents: number
    readonly balanced: boolean
  }
  readonly stock: {
    readonly opening: number
    readonly shipped: number
    readonly closing: number
    readonly balanced: boolean
  }
  readonly receipts: number
  readonly leaderTerms: number
  /** Failed checks in words; empty when all checks hold. */
  readonly faults: readonly string[]
}

export async function audit(sql: SqlClient, schemas: Schemas): Promise<Audit> {
  const ledger = await auditLedger(sql, schemas)
  const stock = await auditStock(sql, schemas)
  return {
    orders: await countOrders(sql, schemas),
    ledger: ledger.sums,
    stock: stock.sums,
    receipts: await one(sql, `SELECT count(*) AS n FROM ${receiptTable(schemas)}`),
    leaderTerms: await one(sql, `SELECT count(*) AS n FROM ${ledgerTables(schemas.payments).term}`),
    faults: [...ledger.faults, ...stock.faults, ...(await auditReceipts(sql, schemas))],
  }
}

/** Number of confirmed orders without a receipt. */
export function missingReceipts(sql: SqlClient, schemas: Schemas): Promise<number> {
  return one(
    sql,
    `SELECT count(*) AS n FROM ${orderTables(schemas.orders).purchase} p WHERE p.status = 'confirmed'
       AND NOT EXISTS (SELECT 1 FROM ${receiptTable(schemas)} r WHERE r.order_id = p.order_id)`,
  )
}

async function countOrders(sql: SqlClient, { orders }: Schemas): Promise<Audit['orders']> {
  const { purchase, submission } = orderTables(orders)
  const counts = await counted(
    sql,
    `SELECT CASE WHEN s.verdict <> 'accepted' THEN s.verdict
                 WHEN p.status IN ('confirmed', 'declined', 'outOfStock') THEN p.status ELSE 'stuck' END AS name, count(*) AS n
     FROM ${submission} s JOIN ${purchase} p ON p.order_id = s.order_id GROUP BY 1`,
  )
  const count = (name: string): number => counts.get(name) ?? 0
  return {
    duplicate: count('duplicate'),
    conflict: count('conflict'),
    confirmed: count('confirmed'),
    declined: count('declined'),
    outOfStock: count('outOfStock'),
    stuck: count('stuck'),
  }
}

async function auditLedger(sql: SqlClient, { orders, payments }: Schemas) {
  const { account, entry, closing } = ledgerTables(payments)
  const { purchase } = orderTables(orders)
  const openingCents = await one(sql, `SELECT coalesce(sum(opening), 0) AS n FROM ${account}`)
  const closingCents = await one(sql, `SELECT coalesce(sum(balance), 0) AS n FROM ${account}`)
  const chargedCents = await one(sql, `SELECT coalesce(sum(cents), 0) AS n FROM ${entry} WHERE kind = 'charge'`)
  const refundedCents = await one(sql, `SELECT coalesce(sum(cents), 0) AS n FROM ${entry} WHERE kind = 'refund'`)
  const faults = await nonZero(sql, {
    'accounts whose balance is not opening - charges + refunds': `
      SELECT count(*) AS n FROM ${account} a WHERE balance <> opening
        - (SELECT coalesce(sum(cents), 0) FROM ${entry} e WHERE e.customer = a.customer AND kind = 'charge')
        + (SELECT coalesce(sum(cents), 0) FROM ${entry} e WHERE e.customer = a.customer AND kind = 'refund')`,
    'orders charged more than once': `
      SELECT count(*) AS n FROM (SELECT order_id FROM ${entry} WHERE kind = 'charge' GROUP BY 1 HAVING count(*) > 1) twice`,
    'confirmed orders that were not charged their amount, or others that were charged': `
      SELECT count(*) AS n FROM (
        SELECT order_id, sum(CASE kind WHEN 'charge' THEN cents ELSE -cents END) AS paid FROM ${entry} GROUP BY 1) e
      FULL JOIN (SELECT order_id, amount_cents FROM ${purchase} WHERE status = 'confirmed') p ON p.order_id = e.order_id
      WHERE coalesce(e.paid, 0) <> coalesce(p.amount_cents, 0)`,
    'closing lines that do not agree with the ledger': `
      SELECT count(*) AS n FROM ${closing} WHERE term IS NULL
        OR (charged, refunded, balance) IS DISTINCT FROM (${chargedCents}, ${refundedCents}, ${closingCents})`,
  })
  const balanced = faults.length === 0 && closingCents === openingCents - chargedCents + refundedCents
  return { sums: { openingCents, chargedCents, refundedCents, closingCents, balanced }, faults }
}

async function auditStock(sql: SqlClient, { orders, stock }: Schemas) {
  const { shelf, reservation } = shelfTables(stock)
  const { purchase } = orderTables(orders)
  const shippedWhere = `NOT released AND order_id IN (SELECT order_id FROM ${purchase} WHERE status = 'confirmed')`
  const opening = await one(sql, `SELECT coalesce(sum(opening), 0) AS n FROM ${shelf}`)
  const closing = await one(sql, `SELECT coalesce(sum(available), 0) AS n FROM ${shelf}`)
  const shipped = await one(sql, `SELECT coalesce(sum(quantity), 0) AS n FROM ${reservation} WHERE ${shippedWhere}`)
  const faults = await nonZero(sql, {
    'shelves whose stock is not opening - held units': `
      SELECT count(*) AS n FROM ${shelf} s WHERE available <> opening
        - (SELECT coalesce(sum(quantity), 0) FROM ${reservation} r WHERE r.sku = s.sku AND NOT released)`,
    'units held for orders that were not confirmed': `
      SELECT count(*) AS n FROM ${reservation} WHERE NOT released AND NOT (${shippedWhere})`,
    'confirmed orders without units': `
      SELECT count(*) AS n FROM ${purchase} p WHERE status = 'confirmed'
        AND NOT EXISTS (SELECT 1 FROM ${reservation} r WHERE r.order_id = p.order_id AND NOT released)`,
  })
  const balanced = faults.length === 0 && closing === opening - shipped
  return { sums: { opening, shipped, closing, balanced }, faults }
}

function auditReceipts(sql: SqlClient, schemas: Schemas): Promise<readonly string[]> {
  return nonZero(sql, {
    'orders with more than one receipt': `
      SELECT count(*) AS n FROM (SELECT order_id FROM ${receiptTable(schemas)} GROUP BY 1 HAVING count(*) > 1) twice`,
    'confirmed orders without a receipt over their amount': `
      SELECT count(*) AS n FROM ${orderTables(schemas.orders).purchase} p WHERE status = 'confirmed' AND NOT EXISTS (
        SELECT 1 FROM ${receiptTable(schemas)} r WHERE r.order_id = p.order_id AND r.cents = p.amount_cents)`,
  })
}

function receiptTable({ receipts }: Schemas): string {
  return `${quoteIdentifier(receipts)}.receipt`
}

/** Runs queries that each count violations. @returns one text per query with a count over 0 */
async function nonZero(sql: SqlClient, queries: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const faults: string[] = []
  for (const [what, query] of Object.entries(queries)) {
    const found = await one(sql, query)
    if (found > 0) faults.push(`${found} ${what}`)
  }
  return faults
}

async function one(sql: SqlClient, query: string): Promise<number> {
  const result = await sql.query<{ n: string }>(`SELECT n::text AS n FROM (${query}) counted`)
  return Number(result.rows[0]?.n ?? 0)
}

async function counted(sql: SqlClient, query: string): Promise<ReadonlyMap<string, number>> {
  const result = await sql.query<{ name: string; n: string }>(`SELECT name, n::text AS n FROM (${query}) counted`)
  return new Map(result.rows.map(({ name, n }) => [name, Number(n)]))
}
