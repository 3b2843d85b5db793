/** The outbox for an operator who has the database but not the code. */
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

/** A message whose last publish failed and that a relay will try again, without its payload. */
export interface FailingLine extends Omit<ParkedLine, 'parkedAt'> {
  /** Epoch ms, server time. */
  readonly nextAttemptAt: number
}

/** Lists and settles messages that the relay gave up. */
export interface OutboxAdmin {
  /**
   * Returns the numbers of pending and parked messages and blocked keys, and the age of the oldest. @throws `core.tables_missing`
   */
  stats(): Promise<OutboxStats>
  /** Lists parked messages, oldest first; at most 10 000. @default limit 100 */
  parked(options?: { readonly limit?: number | undefined }): Promise<readonly ParkedLine[]>
  /** Lists failing messages, most failures first; at most 10 000. @default limit 100 */
  failing(options?: { readonly limit?: number | undefined }): Promise<readonly FailingLine[]>
  /**
   * Schedules a failed message for another try; a relay finds it within its `idlePollMs`. @returns false when there is none
   * @throws `outbox.ambiguous` when several match: nothing was changed
   */
  retry(which: string | HeldMessage, note: OperatorNote): Promise<boolean>
  /** Deletes the message and frees its key; `outbox_audit` keeps the complete message. @returns and @throws same as `retry` */
  drop(which: string | HeldMessage, note: OperatorNote): Promise<boolean>
}

/** Without bodies and headers, because a page reads these lists every few seconds, and each body may have megabytes. */
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
