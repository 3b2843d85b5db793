/** Options of every kind of participant: the source of its commands, and the location of its barrier and its replies. */

import type { ConsumerOptions } from '../../binder/bindings/declarations.ts'
import { invalidOption } from '../../core/errors.ts'
import type { SqlClient } from '../../core/sql.ts'
import type { Telemetry } from '../../core/telemetry-interface.ts'
import type { ReplyOutbox } from './reply-outbox-interface.ts'

/** Options of `participant` and `tccParticipant`: those of a sink, and the location of the barrier and the replies. */
export interface ParticipantOptions extends Omit<ConsumerOptions, 'retryable' | 'onFailure'> {
  readonly group: string
  /**
   * Database of the participant, in which the barrier, the effects of the handlers and the replies commit together.
   * @default the database of the service
   */
  readonly sql?: SqlClient | undefined
  /** Outbox in the same database, made by `createOutbox`; its relay sends the replies. @default the service's */
  readonly outbox?: ReplyOutbox | undefined
  /** Schema in which `migrateParticipant` created the barrier. @default 'concordat' */
  readonly schema?: string | undefined
  /**
   * Records a span with the saga's name, id and step for each call, in the saga's trace, which the reply continues. @default none
   */
  readonly telemetry?: Telemetry | undefined
  /**
   * Location of the effects. `'anywhere'`: `invoke` (`try` of a TCC participant) may have effects outside of `tx`. The
   * participant therefore commits a record before it calls the handler, and an attempt that failed, or whose process died, is
   * compensated (cancelled) because it may have had an effect. `'tx'`: all effects are written through `tx`. Uncommitted attempts
   * are then not compensated, a refusal after a failed attempt counts as much as one at the first attempt, and the additional
   * commit is saved. Change it to `'tx'` only while no saga is open in which an attempt failed. @default 'anywhere'
   */
  readonly effects?: 'anywhere' | 'tx' | undefined
  /**
   * Same as for a sink with an inbox: commands that are ready together may share a transaction. Use it when commands rarely write
   * the same rows. @default false
   */
  readonly sharesTransactions?: boolean | undefined
}

/** Names of the options; each kind of participant adds its own. */
export const PARTICIPANT_OPTIONS = {
  group: true,
  sql: true,
  outbox: true,
  schema: true,
  telemetry: true,
  sharesTransactions: true,
  effects: true,
  name: true,
  concurrency: true,
  maxAttempts: true,
  backoff: true,
  retry: true,
  prefetch: true,
  prefetchBytes: true,
  autoStart: true,
  middleware: true,
  rateLimit: true,
  circuitBreaker: true,
  slowAfterMs: true,
} as const satisfies Readonly<Record<keyof ParticipantOptions, true>>

/** @throws TypeError naming the option */
export function isAllInTx(path: string, effects: unknown = 'anywhere'): boolean {
  if (effects !== 'anywhere' && effects !== 'tx') throw invalidOption(`${path}.effects`, effects, "'anywhere' or 'tx'")
  return effects === 'tx'
}
