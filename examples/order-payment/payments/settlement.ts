/**
 * The settlement job: closes the books on request. Only the elected leader of the payments instances runs it, and the
 * ledger accepts writes of the newest term only: a leader that was paused and replaced gets a `locks.fence_rejected`.
 *
 * `payments.close-books` reaches any instance, which stores the request in a table. The leader polls the table, so a
 * request survives the kill of the leader: the next leader finds it.
 */
import { type SinkBinding, sink } from 'concordat/binder'
import type { Logger, SqlClient } from 'concordat/core'
import type { Fence } from 'concordat/locks'
import type { Service } from 'concordat/service'
import { booksClosed, closeBooks } from '../contracts.ts'
import { PATIENT } from '../service.ts'
import type { LedgerTables } from './ledger.ts'

export interface SettlementParts {
  readonly tables: LedgerTables
  readonly sql: SqlClient
  readonly service: () => Service
  readonly fence: Fence
  readonly instance: string
  readonly logger: Logger
}

/** Fence resource whose guard row stores the highest term that has written. */
const BOOKS = 'books'
const LOOK_EVERY_MS = 200

/** Stores closing requests. Answers again a request that was already served. */
export function closingRequests({ tables, service }: SettlementParts): SinkBinding {
  return sink(closeBooks, { ...PATIENT, group: 'payments' }, async ({ closing }) => {
    await service().transaction(async (tx) => {
      await tx.query(`INSERT INTO ${tables.closing} (closing) VALUES ($1) ON CONFLICT DO NOTHING`, [closing])
      const served = await tx.query<{ term: string }>(
        `SELECT term::text AS term FROM ${tables.closing} WHERE closing = $1 AND term IS NOT NULL`,
        [closing],
      )
      const term = served.rows[0]?.term
      if (term !== undefined) await tx.send(booksClosed, { closing, term: Number(term) })
    })
  })
}

/** Runs one term of leadership: records the term, then serves requests until the term is over. Never rejects. */
export async function lead(parts: SettlementParts, term: number, signal: AbortSignal): Promise<void> {
  let known = false
  while (!signal.aborted) {
    try {
      if (!known) await recordTerm(parts, term)
      known = true
      await closeRequested(parts, term)
    } catch (error) {
      if (!signal.aborted) parts.logger.warn({ err: error, term }, 'settlement failed, retrying')
    }
    await pause(LOOK_EVERY_MS, signal)
  }
}

async function recordTerm({ service, tables, fence, instance }: SettlementParts, term: number): Promise<void> {
  await service().transaction(async (tx) => {
    await fence.check(tx, BOOKS, term)
    await tx.query(`INSERT INTO ${tables.term} (term, instance) VALUES ($1, $2) ON CONFLICT DO NOTHING`, [
      String(term),
      instance,
    ])
  })
}

/** Writes the closing line of each open request under this term, and sends the answer. */
async function closeRequested({ sql, service, tables, fence }: SettlementParts, term: number): Promise<void> {
  const open = await sql.query<{ closing: string }>(`SELECT closing FROM ${tables.closing} WHERE term IS NULL`)
  for (const { closing } of open.rows) {
    await service().transaction(async (tx) => {
      await fence.check(tx, BOOKS, term)
      const written = await tx.query(
        `UPDATE ${tables.closing} SET term = $2::bigint,
           charged = (SELECT coalesce(sum(cents), 0) FROM ${tables.entry} WHERE kind = 'charge'),
           refunded = (SELECT coalesce(sum(cents), 0) FROM ${tables.entry} WHERE kind = 'refund'),
           balance = (SELECT coalesce(sum(balance), 0) FROM ${tables.account})
         WHERE closing = $1 AND term IS NULL`,
        [closing, String(term)],
      )
      if (written.rowCount === 1) await tx.send(booksClosed, { closing, term })
    })
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    if (signal.aborted) done()
  })
}
