/** The statements that one order runs, the same for each client. */
import { type Order, totalCents } from './serve-orders.ts'

/** Runs a statement in the transaction of the step. */
export type Query = (
  text: string,
  parameters: readonly unknown[],
) => Promise<{ readonly rows: ReadonlyArray<Readonly<Record<string, unknown>>>; readonly rowCount: number }>

export async function open(query: Query, line: number, order: Order): Promise<void> {
  const { orderId, customer } = order
  await query(`INSERT INTO submission (line, digest, order_id, verdict) VALUES ($1, $2, $2, 'accepted')`, [
    line,
    orderId,
  ])
  await query(
    `INSERT INTO purchase (order_id, digest, customer, amount_cents, status) VALUES ($1, $1, $2, $3, 'pending')`,
    [orderId, customer, totalCents(order)],
  )
}

export async function close(query: Query, order: Order, status: string): Promise<void> {
  await settle(query, order, status)
  if (status === 'confirmed') await writeReceipt(query, order)
}

export async function settle(query: Query, { orderId }: Order, status: string): Promise<void> {
  await query('UPDATE purchase SET status = $2 WHERE order_id = $1', [orderId, status])
}

export async function writeReceipt(query: Query, order: Order): Promise<void> {
  const text = 'INSERT INTO receipt (order_id, customer, cents) VALUES ($1, $2, $3)'
  await query(text, [order.orderId, order.customer, totalCents(order)])
}

/** False: there is not so much. */
export async function reserve(query: Query, { orderId, lines }: Order): Promise<boolean> {
  const skus = lines.map(({ sku }) => sku)
  const { rows } = await query('SELECT sku, available FROM shelf WHERE sku = ANY($1) ORDER BY sku FOR UPDATE', [skus])
  const available = new Map(rows.map((row) => [row['sku'], Number(row['available'])]))
  if (lines.some(({ sku, quantity }) => (available.get(sku) ?? 0) < quantity)) return false
  await query(
    `WITH want AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS w(sku, quantity)),
     taken AS (UPDATE shelf s SET available = s.available - want.quantity FROM want WHERE s.sku = want.sku)
     INSERT INTO reservation (saga_key, order_id, sku, quantity) SELECT $3, $3, sku, quantity FROM want`,
    [skus, lines.map(({ quantity }) => quantity), orderId],
  )
  return true
}

export async function release(query: Query, orderId: string): Promise<void> {
  await query(
    `WITH back AS (UPDATE reservation SET released = true WHERE saga_key = $1 AND NOT released RETURNING sku, quantity)
     UPDATE shelf s SET available = s.available + back.quantity FROM back WHERE s.sku = back.sku`,
    [orderId],
  )
}

/** False: the balance is too small. */
export async function charge(query: Query, order: Order): Promise<boolean> {
  const { orderId, customer } = order
  const { rowCount } = await query(
    `WITH paid AS (
       UPDATE account SET balance = balance - $3::bigint WHERE customer = $2 AND balance >= $3::bigint RETURNING customer
     )
     INSERT INTO entry (kind, saga_key, order_id, customer, cents)
     SELECT 'charge', $1, $1, $2, $3::bigint FROM paid`,
    [orderId, customer, totalCents(order)],
  )
  return rowCount === 1
}

export async function refund(query: Query, { orderId }: Order): Promise<void> {
  await query(
    `WITH back AS (
       INSERT INTO entry (kind, saga_key, order_id, customer, cents)
       SELECT 'refund', saga_key, order_id, customer, -cents FROM entry WHERE saga_key = $1 AND kind = 'charge'
       ON CONFLICT DO NOTHING RETURNING customer, cents
     )
     UPDATE account a SET balance = a.balance - back.cents FROM back WHERE a.customer = back.customer`,
    [orderId],
  )
}
