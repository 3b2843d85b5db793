/** Actions of operators from all their records: timelines of sagas, the audit of the outbox, and the operator's own. */

import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { invalidOption, optionNames, refuseUnknown, requireInteger } from 'concordat/extension'
import { tablesIn } from './existing-tables.ts'

/** An action. */
export interface AuditLine {
  /** Epoch ms, server time. */
  readonly at: number
  readonly part: 'saga' | 'outbox' | 'letters' | 'locks' | 'leader' | 'undo' | 'bus' | 'console' | 'tables'
  /** `retry`, `skip`, `drop`, ...; `refused` when it no longer applied; `payloads` for reading one. */
  readonly action: string
  /**
   * `<saga>/<id>`, the id of the message, the channel of the letters, the key, the role, `<saga>/<id>/<step>`, the part whose
   * tables were migrated, or the address of an event, with the binding that it pauses or resumes.
   */
  readonly target: string
  readonly by: string
  readonly reason: string
  /** Outcome, for dead letters, locks, leaders, undo and the bus; `null` when it is unknown. */
  readonly outcome: string | null
}

/** Selects actions. */
export interface AuditOptions {
  /** Before this time, epoch ms: `at` of the last line of the page before. */
  readonly before?: number | undefined
  /** At most 1 000. @default 100 */
  readonly limit?: number | undefined
}

const NAMES = optionNames<AuditOptions>({ before: true, limit: true })

/** Newest first. Reads all timelines: for a person, not for a loop. */
export async function readAudit(
  sql: SqlClient,
  schema: string,
  options: AuditOptions = {},
): Promise<readonly AuditLine[]> {
  refuseUnknown('audit', options, NAMES)
  const limit = requireInteger('audit.limit', options.limit ?? 100, 1, 1_000)
  const { before } = options
  if (before !== undefined && !Number.isFinite(before)) {
    throw invalidOption('audit.before', before, 'a number of ms since 1970')
  }
  const quoted = quoteIdentifier(schema)
  const tables = await tablesIn(sql, schema)
  const sources = [
    ...(tables.has('saga_event')
      ? [
          `SELECT at, 'saga' AS part, substr(kind, 10) AS action, saga || '/' || id AS target, detail->>'by' AS by,
             detail->>'reason' AS reason, NULL::text AS outcome FROM ${quoted}.saga_event WHERE kind LIKE 'operator-%'`,
        ]
      : []),
    ...(tables.has('outbox_audit')
      ? [
          `SELECT at, 'outbox' AS part, action, id AS target, by, reason, NULL::text AS outcome FROM ${quoted}.outbox_audit`,
        ]
      : []),
    ...(tables.has('operator_audit')
      ? [
          `SELECT min(at) AS at, min(part) AS part, min(action) AS action, min(target) AS target, min(by) AS by,
             min(reason) AS reason, max(outcome) AS outcome FROM ${quoted}.operator_audit GROUP BY request`,
        ]
      : []),
  ]
  if (sources.length === 0) return []
  const { rows } = await sql.query<AuditLine>(
    `SELECT (extract(epoch FROM at) * 1000)::float8 AS at, part, action, target, by, reason, outcome
     FROM (${sources.join(' UNION ALL ')}) a
     WHERE $1::float8 IS NULL OR extract(epoch FROM at) * 1000 < $1::float8 ORDER BY a.at DESC LIMIT ${limit}`,
    [before ?? null],
  )
  return rows
}
