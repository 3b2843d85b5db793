/** What an operator can do about messages that fail: see them, try again, give them up. */
import type { EncodedMessage } from '../binder/message.ts'
import { requireText } from '../core/errors.ts'
import type { SqlClient } from '../core/sql.ts'
import { MESSAGE_COLUMNS, type MessageRow, messageOf } from './rows.ts'
import type { OutboxTables } from './tables.ts'

export interface ParkedMessage {
  readonly message: EncodedMessage
  /** Publishes tried. */
  readonly attempts: number
  readonly lastError: string
  /** Epoch ms, server time. */
  readonly addedAt: number
  readonly parkedAt: number
}

/** Who gives a message up, and why: both are kept. */
export interface DropReason {
  readonly by: string
  readonly reason: string
}

export interface RetryReason {
  /** @default 'unknown' */
  readonly by?: string | undefined
  /** @default '' */
  readonly reason?: string | undefined
}

interface ParkedRow extends MessageRow {
  readonly attempts: number
  readonly last_error: string | null
  readonly added_at: Date
  readonly parked_at: Date
}

export async function listParked(
  sql: SqlClient,
  tables: OutboxTables,
  limit: number,
): Promise<readonly ParkedMessage[]> {
  const { rows } = await sql.query<ParkedRow>(
    `SELECT ${MESSAGE_COLUMNS}, attempts, last_error, added_at, parked_at FROM ${tables.outbox}
     WHERE next_attempt_at = 'infinity' ORDER BY parked_at, seq LIMIT $1`,
    [limit],
  )
  return rows.map((row) => ({
    message: readableMessage(row),
    attempts: row.attempts,
    lastError: row.last_error ?? '',
    addedAt: row.added_at.getTime(),
    parkedAt: row.parked_at.getTime(),
  }))
}

/** A row is parked also because its headers cannot be read: it is listed without them. */
function readableMessage(row: ParkedRow): EncodedMessage {
  try {
    return messageOf(row)
  } catch {
    return messageOf({ ...row, headers: null })
  }
}

/** @returns the partitions of the rows that were freed */
export function retryHeld(
  sql: SqlClient,
  tables: OutboxTables,
  id: string,
  reason: RetryReason = {},
): Promise<ReadonlySet<number>> {
  return resolveHeld(
    sql,
    tables,
    `UPDATE ${tables.outbox} SET next_attempt_at = NULL, parked_at = NULL, strikes = 0
     WHERE next_attempt_at IS NOT NULL AND id = $1 RETURNING *`,
    ['retry', id, reason.by ?? 'unknown', reason.reason ?? ''],
  )
}

/** @returns the partitions of the rows that were deleted */
export function dropHeld(
  sql: SqlClient,
  tables: OutboxTables,
  id: string,
  reason: DropReason,
): Promise<ReadonlySet<number>> {
  requireText('outbox.drop.by', reason?.by)
  requireText('outbox.drop.reason', reason?.reason)
  return resolveHeld(
    sql,
    tables,
    `DELETE FROM ${tables.outbox} WHERE next_attempt_at IS NOT NULL AND id = $1 RETURNING *`,
    ['drop', id, reason.by, reason.reason],
  )
}

/** The change and its audit line in one statement. */
async function resolveHeld(
  sql: SqlClient,
  tables: OutboxTables,
  change: string,
  [action, id, by, reason]: readonly [string, string, string, string],
): Promise<ReadonlySet<number>> {
  const { rows } = await sql.query<{ partition: number }>(
    `WITH resolved AS (${change}), recorded AS (
       INSERT INTO ${tables.audit} (action, by, reason, id, aggregatetype, aggregateid, type, payload, source,
         content_type, headers, time, attempts, last_error)
       SELECT $2, $3, $4, id, aggregatetype, aggregateid, type, payload, source, content_type, headers, time, attempts,
         last_error FROM resolved
     ) SELECT partition FROM resolved`,
    [id, action, by, reason],
  )
  return new Set(rows.map((row) => row.partition))
}
