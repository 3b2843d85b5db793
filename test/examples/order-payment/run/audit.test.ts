import { expect, test } from 'vitest'
import { migrateOrders } from '../../../../examples/order-payment/orders/tables.ts'
import { migrateLedger } from '../../../../examples/order-payment/payments/ledger.ts'
import { migrateReceipts } from '../../../../examples/order-payment/receipts/receipts.ts'
import { audit } from '../../../../examples/order-payment/run/audit.ts'
import { migrateShelves } from '../../../../examples/order-payment/stock/shelves.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

/** Two orders: o-1 confirmed, o-2 declined and undone. The books are closed. */
async function setup() {
  const { sql } = database
  const schemas = {
    orders: database.newSchema(),
    payments: database.newSchema(),
    stock: database.newSchema(),
    receipts: database.newSchema(),
  }
  await migrateOrders(sql, schemas.orders)
  await migrateLedger(sql, schemas.payments)
  await migrateShelves(sql, schemas.stock)
  await migrateReceipts(sql, schemas.receipts)
  const statements = [
    `INSERT INTO purchase VALUES ('o-1', 'd', 'c', 30, 'confirmed'), ('o-2', 'd', 'c', 40, 'declined')`,
    `INSERT INTO submission VALUES (1, 'd', 'o-1', 'accepted'), (2, 'd', 'o-2', 'accepted'), (3, 'd', 'o-1', 'duplicate')`,
    `INSERT INTO account VALUES ('c', 100, 70)`,
    `INSERT INTO entry VALUES ('charge', 'k-1', 'o-1', 'c', 30), ('charge', 'k-2', 'o-2', 'c', 40), ('refund', 'k-2', 'o-2', 'c', 40)`,
    `INSERT INTO term VALUES (7, 'payments-1')`,
    `INSERT INTO closing VALUES ('end', 7, 70, 40, 70)`,
    `INSERT INTO shelf VALUES ('apple', 10, 8)`,
    `INSERT INTO reservation VALUES ('k-1', 'o-1', 'apple', 2, false), ('k-2', 'o-2', 'apple', 3, true)`,
    `INSERT INTO receipt (order_id, customer, cents) VALUES ('o-1', 'c', 30)`,
  ]
  const run = async (statement: string): Promise<void> => {
    await sql.transaction(async (tx) => {
      await tx.query(`SET LOCAL search_path = ${Object.values(schemas).join(', ')}`)
      await tx.query(statement)
    })
  }
  for (const statement of statements) await run(statement)
  return { run, audit: () => audit(sql, schemas) }
}

test('consistent books have no faults, refunds included', async () => {
  const books = await setup()
  expect(await books.audit()).toEqual({
    orders: { duplicate: 1, conflict: 0, confirmed: 1, declined: 1, outOfStock: 0, stuck: 0 },
    ledger: { openingCents: 100, chargedCents: 70, refundedCents: 40, closingCents: 70, balanced: true },
    stock: { opening: 10, shipped: 2, closing: 8, balanced: true },
    receipts: 1,
    leaderTerms: 1,
    faults: [],
  })
})

test('an order without an end is stuck', async () => {
  const books = await setup()
  await books.run(`UPDATE purchase SET status = 'pending' WHERE order_id = 'o-2'`)
  expect((await books.audit()).orders).toMatchObject({ declined: 0, stuck: 1 })
})

test.each([
  ['a balance that is off', `UPDATE account SET balance = 71`, /accounts whose balance/],
  ['a second charge', `INSERT INTO entry VALUES ('charge', 'k-3', 'o-1', 'c', 30)`, /charged more than once/],
  ['a declined order that was charged', `DELETE FROM entry WHERE kind = 'refund'`, /or others that were charged/],
  ['a confirmed order that was not', `DELETE FROM entry WHERE order_id = 'o-1'`, /not charged their amount/],
  ['a closing line that is off', `UPDATE closing SET charged = 1`, /closing lines/],
  ['a closing that nobody served', `INSERT INTO closing (closing) VALUES ('x')`, /closing lines/],
  ['a shelf that is off', `UPDATE shelf SET available = 9`, /shelves whose stock/],
  ['units still held', `UPDATE reservation SET released = false`, /units held for orders that were not confirmed/],
  ['units never held', `DELETE FROM reservation WHERE order_id = 'o-1'`, /confirmed orders without units/],
  ['two receipts', `INSERT INTO receipt (order_id, customer, cents) VALUES ('o-1', 'c', 30)`, /more than one receipt/],
  ['no receipt', `DELETE FROM receipt`, /without a receipt/],
  ['a receipt over another amount', `UPDATE receipt SET cents = 1`, /without a receipt over their amount/],
])('%s is a fault', async (_, statement, fault) => {
  const books = await setup()
  await books.run(statement)
  expect((await books.audit()).faults).toContainEqual(expect.stringMatching(fault))
})
