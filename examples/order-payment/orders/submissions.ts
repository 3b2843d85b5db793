/**
 * What happens to a submitted line: it is recorded, judged and, if it is new, its saga starts: one transaction.
 *
 * A line may come twice, from the broker or because the intake was killed and read the file again. It is known by its
 * number and content, and its answer is given again: no inbox, because an inbox would swallow the question.
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

/** Two orders are the same when every field we know is; spelling of the JSON and unknown fields do not count. */
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

/** There is an order of this id already: is it this one? */
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

/** The line was here before. If its end is known the answer is sent again; else the saga sends it when it ends. */
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

/** An order that no retry will end: the intake need not wait for it. */
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
