/**
 * Handles a submitted line in one transaction: records it, judges it and, for a new order, starts the saga.
 *
 * A line may arrive twice, from the broker or from an intake that was killed and read the file again. The service
 * identifies it by number and content and repeats the answer. An inbox would drop the repeated line without an answer.
 */
import { createHash } from 'node:crypto'
import { type SinkBinding, sink } from 'concordat/binder'
import type { Service, ServiceTransaction } from 'concordat/service'
import { type Order, type Outcome, orderSettled, orderSubmitted, type Submission, totalCents } from '../contracts.ts'
import { PATIENT } from '../service.ts'
import type { PlaceOrder } from './place-order.ts'
import type { OrderTables } from './tables.ts'

export interface SubmissionParts {
  readonly service: () => Service
  readonly placeOrder: PlaceOrder
  readonly tables: OrderTables
}

export function submissions(parts: SubmissionParts): SinkBinding {
  return sink(orderSubmitted, { ...PATIENT, group: 'orders', concurrency: 16 }, async (submission) => {
    await parts.service().transaction((tx) => judge(tx, parts, submission))
  })
}

/** Hashes the known fields. Orders with the same hash are the same; JSON formatting and other fields do not count. */
export function digestOf({ orderId, customer, card, lines }: Order): string {
  const content = [orderId, customer, card, lines.map((line) => [line.sku, line.quantity, line.unitPriceCents])]
  return createHash('sha256').update(JSON.stringify(content)).digest('hex')
}

async function judge(tx: ServiceTransaction, parts: SubmissionParts, submission: Submission): Promise<void> {
  const { line, order } = submission
  const { orderId } = order
  const digest = digestOf(order)
  const recorded = await tx.query(
    `INSERT INTO ${parts.tables.submission} (line, digest, order_id, verdict) VALUES ($1, $2, $3, 'accepted')
     ON CONFLICT DO NOTHING`,
    [line, digest, orderId],
  )
  if (recorded.rowCount === 0) return answerAgain(tx, parts, line, digest, orderId)
  const opened = await tx.query(
    `INSERT INTO ${parts.tables.purchase} (order_id, digest, customer, amount_cents) VALUES ($1, $2, $3, $4)
     ON CONFLICT DO NOTHING`,
    [orderId, digest, order.customer, totalCents(order)],
  )
  if (opened.rowCount === 1) {
    await tx.start(parts.placeOrder, { id: orderId, input: submission })
    return
  }
  const verdict = await compare(tx, parts, orderId, digest)
  await tx.query(`UPDATE ${parts.tables.submission} SET verdict = $3 WHERE line = $1 AND digest = $2`, [
    line,
    digest,
    verdict,
  ])
  await tx.send(orderSettled, { line, orderId, outcome: verdict })
}

/** Compares an order with the recorded order of the same id. */
async function compare(
  tx: ServiceTransaction,
  { tables }: SubmissionParts,
  orderId: string,
  digest: string,
): Promise<'duplicate' | 'conflict'> {
  const known = await tx.query<{ digest: string }>(`SELECT digest FROM ${tables.purchase} WHERE order_id = $1`, [
    orderId,
  ])
  return known.rows[0]?.digest === digest ? 'duplicate' : 'conflict'
}

/** Answers a line that is already recorded: sends a known outcome again, else leaves the answer to the saga. */
async function answerAgain(
  tx: ServiceTransaction,
  { tables }: SubmissionParts,
  line: number,
  digest: string,
  orderId: string,
): Promise<void> {
  const found = await tx.query<{ outcome: Outcome | 'received' | 'pending' }>(
    `SELECT CASE s.verdict WHEN 'accepted' THEN p.status ELSE s.verdict END AS outcome
     FROM ${tables.submission} s JOIN ${tables.purchase} p ON p.order_id = s.order_id
     WHERE s.line = $1 AND s.digest = $2`,
    [line, digest],
  )
  const outcome = found.rows[0]?.outcome
  if (outcome === undefined || outcome === 'received' || outcome === 'pending') return
  await tx.send(orderSettled, { line, orderId, outcome })
}

/** Tells the intake that an order is stuck, so that it no longer waits for the order. */
export async function reportStuck(
  orderId: string,
  { service, tables }: Pick<SubmissionParts, 'service' | 'tables'>,
): Promise<void> {
  await service().transaction(async (tx) => {
    const found = await tx.query<{ line: string }>(
      `SELECT line::text AS line FROM ${tables.submission} WHERE order_id = $1 AND verdict = 'accepted'`,
      [orderId],
    )
    for (const { line } of found.rows) {
      await tx.send(orderSettled, { line: Number(line), orderId, outcome: 'stuck' })
    }
  })
}
