/** SQL expressions that tell whether an `invoke` is barred. */
import { quoteIdentifier } from '../../core/sql.ts'
import type { Operation } from '../machine/operation.ts'
import type { BarrierCommand, BarrierStatus } from './barrier-entry.ts'

/** An instant as text that a person and a program can read. */
const instant = (at: string): string => `to_char(${at} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`

export class BarrierConditions {
  readonly #table: string
  readonly #purge: string

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#purge = `${quoteIdentifier(schema)}.saga_barrier_purge`
  }

  /** Expressions that are null unless they bar it. Their parameters: key, birth, where it is answered to. */
  of({ sentAt }: BarrierCommand, operation: Operation, status: BarrierStatus): readonly string[] {
    // A step that was cancelled before its invoke arrived is never called.
    if (operation !== 'invoke' || status === 'cancelled') return []
    const standing = this.standing('$1::text', '$2::text', '$3::text')
    if (sentAt === undefined) return [standing]
    // Locked, so that a purge which has begun is waited for.
    const purged = `(SELECT CASE WHEN p.until > to_timestamp(${sentAt / 1_000}) THEN ${instant('p.until')} END
      FROM (SELECT until FROM ${this.#purge} FOR SHARE) AS p)`
    return [standing, purged]
  }

  /** Since when what another saga of this service and id did in the step stands; null: nothing does. */
  standing(key: string, birth: string, replyTo: string): string {
    return `(SELECT ${instant('min(o.created_at)')} FROM ${this.#table} o
      WHERE o.saga_key = ${key} AND o.birth <> ${birth} AND o.operation IN ('invoke', 'confirm') AND o.reply_to = ${replyTo}
        AND (o.status = 'ok' OR (o.outside AND o.status IN ('begun', 'failed', 'final'))))`
  }
}
