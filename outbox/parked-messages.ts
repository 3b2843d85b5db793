/** Operator actions on failed messages: list, retry, drop. */
import type { EncodedMessage } from '../binder/channel/message.ts'
import { requireStorable } from '../core/errors.ts'
import { optionNames, refuseUnknown } from '../core/option-checks.ts'
import { epochMs, type SqlClient } from '../core/sql.ts'
import { OutboxError } from './errors.ts'
import { MESSAGE_COLUMNS, type MessageRow, messageOf } from './rows.ts'
import type { OutboxTables } from './tables.ts'

/** A parked message: it stays, and blocks its key, until an operator retries or drops it. */
export interface ParkedMessage {
  readonly message: EncodedMessage
  /** Number of publish attempts. */
  readonly attempts: number
  readonly lastError: string
  /** Epoch ms, server time. */
  readonly addedAt: number
  readonly parkedAt: number
}

/** The person who drops a message, and the reason; both are stored. */
export interface DropReason {
  readonly by: string
  readonly reason: string
}

/** Identifies a failed message among others with the same id. */
export interface HeldMessage {
  readonly id: string
  readonly destination?: string | undefined
  readonly source?: string | undefined
}

/** The person who retries a message, and the reason; both are stored. */
export interface RetryReason {
  /** @default 'unknown' */
  readonly by?: string | undefined
  /** @default '' */
  readonly reason?: string | undefined
}

interface ParkedRow extends MessageRow {
  readonly attempts: number
  readonly last_error: string | null
  readonly added_ms: number
  readonly parked_ms: number
}

export async function listParked(
  sql: SqlClient,
  tables: OutboxTables,
  limit: number,
): Promise<readonly ParkedMessage[]> {
  const { rows } = await sql.query<ParkedRow>(
    `SELECT ${MESSAGE_COLUMNS}, attempts, last_error, ${epochMs('added_at')} AS added_ms, ${epochMs('parked_at')} AS parked_ms FROM ${tables.outbox}
     WHERE next_attempt_at = 'infinity' ORDER BY parked_at, seq LIMIT $1`,
    [limit],
  )
  return rows.map((row) => ({
    message: readableMessage(row),
    attempts: row.attempts,
    lastError: row.last_error ?? '',
    addedAt: row.added_ms,
    parkedAt: row.parked_ms,
  }))
}

/** A row may be parked because its headers cannot be read: it is then listed without headers. */
function readableMessage(row: MessageRow): EncodedMessage {
  try {
    return messageOf(row)
  } catch {
    return messageOf({ ...row, headers: null })
  }
}

/** @returns the partitions of the released rows */
export function retryHeld(
  sql: SqlClient,
  tables: OutboxTables,
  which: string | HeldMessage,
  reason: RetryReason = {},
): Promise<ReadonlySet<number>> {
  return resolveHeld(
    sql,
    tables,
    `UPDATE ${tables.outbox} SET next_attempt_at = NULL, parked_at = NULL, strikes = 0
     WHERE ${HELD} RETURNING *`,
    'retry',
    which,
    [said('retry.by', reason.by ?? 'unknown'), said('retry.reason', reason.reason)],
  )
}

function said(name: string, text = ''): string {
  return text === '' ? text : requireStorable(`outbox.${name}`, text)
}

/** @returns the partitions of the deleted rows */
export function dropHeld(
  sql: SqlClient,
  tables: OutboxTables,
  which: string | HeldMessage,
  reason: DropReason,
): Promise<ReadonlySet<number>> {
  requireStorable('outbox.drop.by', reason?.by)
  requireStorable('outbox.drop.reason', reason?.reason)
  return resolveHeld(sql, tables, `DELETE FROM ${tables.outbox} WHERE ${HELD} RETURNING *`, 'drop', which, [
    reason.by,
    reason.reason,
  ])
}

const HELD = `next_attempt_at IS NOT NULL AND id = $1 AND aggregatetype = coalesce($2::text, aggregatetype)
       AND source = coalesce($3::text, source)`
const HELD_NAMES = optionNames<HeldMessage>({ id: true, destination: true, source: true })

/** @throws TypeError if it names no message */
function requireHeld(path: string, which: string | HeldMessage): HeldMessage {
  if (typeof which === 'string') return { id: requireStorable(path, which) }
  refuseUnknown(path, which, HELD_NAMES)
  requireStorable(`${path}.id`, which.id)
  for (const name of ['destination', 'source'] as const) {
    if (which[name] !== undefined) requireStorable(`${path}.${name}`, which[name])
  }
  return which
}

/** Makes the change and its audit entry in one statement. */
async function resolveHeld(
  sql: SqlClient,
  tables: OutboxTables,
  change: string,
  action: 'retry' | 'drop',
  which: string | HeldMessage,
  [by, reason]: readonly [string, string],
): Promise<ReadonlySet<number>> {
  const { id, destination, source } = requireHeld(`outbox.${action}`, which)
  const found = await sql.query<{ destination: string; source: string }>(
    `SELECT DISTINCT aggregatetype AS destination, source FROM ${tables.outbox} WHERE ${HELD} LIMIT 10`,
    [id, destination ?? null, source ?? null],
  )
  if (found.rows.length > 1) throw new OutboxError('outbox.ambiguous', { id, places: found.rows })
  const [place] = found.rows
  if (place === undefined) return new Set()
  // Only for the message found: another message with its id may fail at this moment.
  const { rows } = await sql.query<{ partition: number }>(
    `WITH resolved AS (${change}), recorded AS (
       INSERT INTO ${tables.audit} (action, by, reason, id, aggregatetype, aggregateid, type, payload, source,
         content_type, headers, time, attempts, last_error)
       SELECT $4, $5, $6, id, aggregatetype, aggregateid, type, payload, source, content_type, headers, time, attempts,
         last_error FROM resolved
     ) SELECT partition FROM resolved`,
    [id, place.destination, place.source, action, by, reason],
  )
  return new Set(rows.map((row) => row.partition))
}
