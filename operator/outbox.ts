/** The outbox for an operator who has the database and none of the code. */
import { requireInteger } from '../core/errors.ts'
import { epochMs, explainMissing, type SqlClient } from '../core/sql.ts'
import { dropHeld, type HeldMessage, retryHeld } from '../outbox/parked-messages.ts'
import { type OutboxStats, readStats } from '../outbox/stats.ts'
import { type OutboxTables, outboxTables } from '../outbox/tables.ts'
import { type OperatorNote, requireNote } from '../saga/coordinator/operator-checks.ts'

/** A parked message, without its payload. */
export interface ParkedLine {
  readonly id: string
  readonly destination: string
  readonly source: string
  readonly key: string | null
  readonly bytes: number
  readonly attempts: number
  readonly lastError: string
  /** Epoch ms, server time. */
  readonly addedAt: number
  readonly parkedAt: number
}

/** A message whose last publish failed and that a relay tries again, without its payload. */
export interface FailingLine extends Omit<ParkedLine, 'parkedAt'> {
  /** Epoch ms, server time. */
  readonly nextAttemptAt: number
}

/** Sees and settles what the relay gave up on. */
export interface OutboxAdmin {
  /** Pending, the age of the oldest, blocked keys, parked. @throws `core.tables_missing` */
  stats(): Promise<OutboxStats>
  /** Oldest first; at most 10 000. @default limit 100 */
  parked(options?: { readonly limit?: number | undefined }): Promise<readonly ParkedLine[]>
  /** Failing messages, those with most failures first; at most 10 000. @default limit 100 */
  failing(options?: { readonly limit?: number | undefined }): Promise<readonly FailingLine[]>
  /**
   * Lets a failed message be tried again; a relay finds it within its `idlePollMs`. @returns false when there is none
   * @throws `outbox.ambiguous` when several fit: nothing was changed
   */
  retry(which: string | HeldMessage, note: OperatorNote): Promise<boolean>
  /** Gives it up and frees its key; it stays whole in `outbox_audit`. @returns and @throws as `retry` */
  drop(which: string | HeldMessage, note: OperatorNote): Promise<boolean>
}

/** Leaves out bodies and headers: a page reads these lists every few seconds, and each body may have megabytes. */
const LINE_COLUMNS = `id, aggregatetype AS destination, source, aggregateid AS key, coalesce(octet_length(payload), 0) AS bytes,
  attempts, coalesce(last_error, '') AS last_error, ${epochMs('added_at')} AS "addedAt"`

interface LineRow extends Omit<ParkedLine, 'lastError' | 'parkedAt'> {
  readonly last_error: string
}

export class SqlOutboxAdmin implements OutboxAdmin {
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #tables: OutboxTables

  constructor(sql: SqlClient, schema: string) {
    this.#sql = sql
    this.#schema = schema
    this.#tables = outboxTables(schema)
  }

  stats(): Promise<OutboxStats> {
    return this.#explained(() => readStats(this.#sql, this.#tables))
  }

  async parked(options: { readonly limit?: number | undefined } = {}): Promise<readonly ParkedLine[]> {
    const limit = requireInteger('outbox.parked.limit', options.limit ?? 100, 1, 10_000)
    const { rows } = await this.#explained(() =>
      this.#sql.query<LineRow & { readonly parkedAt: number }>(
        `SELECT ${LINE_COLUMNS}, ${epochMs('parked_at')} AS "parkedAt" FROM ${this.#tables.outbox}
         WHERE next_attempt_at = 'infinity' ORDER BY parked_at, seq LIMIT $1`,
        [limit],
      ),
    )
    return rows.map((row) => ({ ...lineOf(row), parkedAt: row.parkedAt }))
  }

  async failing(options: { readonly limit?: number | undefined } = {}): Promise<readonly FailingLine[]> {
    const limit = requireInteger('outbox.failing.limit', options.limit ?? 100, 1, 10_000)
    const { rows } = await this.#explained(() =>
      this.#sql.query<LineRow & { readonly nextAttemptAt: number }>(
        `SELECT ${LINE_COLUMNS}, ${epochMs('next_attempt_at')} AS "nextAttemptAt" FROM ${this.#tables.outbox}
         WHERE next_attempt_at < 'infinity' AND attempts > 0 ORDER BY attempts DESC, seq LIMIT $1`,
        [limit],
      ),
    )
    return rows.map((row) => ({ ...lineOf(row), nextAttemptAt: row.nextAttemptAt }))
  }

  async retry(which: string | HeldMessage, note: OperatorNote): Promise<boolean> {
    const { by, reason } = requireNote('outbox.retry', note)
    return (await this.#explained(() => retryHeld(this.#sql, this.#tables, which, { by, reason }))).size > 0
  }

  async drop(which: string | HeldMessage, note: OperatorNote): Promise<boolean> {
    const { by, reason } = requireNote('outbox.drop', note)
    return (await this.#explained(() => dropHeld(this.#sql, this.#tables, which, { by, reason }))).size > 0
  }

  async #explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw explainMissing(error, this.#schema, 'outbox.migrate()')
    }
  }
}

function lineOf(row: LineRow): Omit<ParkedLine, 'parkedAt'> {
  const { id, destination, source, key, bytes, attempts, last_error: lastError, addedAt } = row
  return { id, destination, source, key, bytes, attempts, lastError, addedAt }
}
