/** SQL expressions that decide whether an `invoke` is barred. */
import { quoteIdentifier } from '../../core/sql.ts'
import type { Operation } from '../machine/operation.ts'
import type { BarrierCommand, BarrierStatus } from './barrier-entry.ts'

/** Formats an instant for people and programs. */
const instant = (at: string): string => `to_char(${at} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`

export class BarrierConditions {
  readonly #table: string
  readonly #purge: string

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#purge = `${quoteIdentifier(schema)}.saga_barrier_purge`
  }

  /** Returns expressions that are null unless they bar the command. Their parameters: key, birth, reply channel. */
  of({ sentAt }: BarrierCommand, operation: Operation, status: BarrierStatus): readonly string[] {
    // A step that was cancelled before its invoke arrived is never called.
    if (operation !== 'invoke' || status === 'cancelled') return []
    const standing = this.standing('$1::text', '$2::text', '$3::text')
    if (sentAt === undefined) return [standing]
    // Locked, to wait for a purge that has begun.
    const purged = `(SELECT CASE WHEN p.until > to_timestamp(${sentAt / 1_000}) THEN ${instant('p.until')} END
      FROM (SELECT until FROM ${this.#purge} FOR SHARE) AS p)`
    return [standing, purged]
  }

  /** Time since when the effect of another saga with this service and id exists in the step; null without one. */
  standing(key: string, birth: string, replyTo: string): string {
    return `(SELECT ${instant('min(o.created_at)')} FROM ${this.#table} o
      WHERE o.saga_key = ${key} AND o.birth <> ${birth} AND o.operation IN ('invoke', 'confirm') AND o.reply_to = ${replyTo}
        AND (o.status = 'ok' OR (o.outside AND o.status IN ('begun', 'failed', 'final'))))`
  }
}
