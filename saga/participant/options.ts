/** Options of every kind of participant: the origin of its commands, and the location of its barrier and its replies. */

import type { ConsumerOptions } from '../../binder/bindings/declarations.ts'
import { invalidOption } from '../../core/errors.ts'
import type { SqlClient } from '../../core/sql.ts'
import type { Telemetry } from '../../core/telemetry-interface.ts'
import type { ReplyOutbox } from './reply-outbox-interface.ts'

/** Options of `participant` and `tccParticipant`: those of a sink, and where the barrier and the replies are. */
export interface ParticipantOptions extends Omit<ConsumerOptions, 'retryable' | 'onFailure'> {
  readonly group: string
  /**
   * The participant's own database: the barrier, the handlers' effects and the replies commit together.
   * @default that of the service it is declared in
   */
  readonly sql?: SqlClient | undefined
  /** Outbox in the same database, made by `createOutbox`; its relay sends the replies. @default the service's */
  readonly outbox?: ReplyOutbox | undefined
  /** Where `migrateParticipant` put the barrier. @default 'concordat' */
  readonly schema?: string | undefined
  /** A span with the saga's name, id and step for each call, in the saga's trace; the reply goes on with it. @default none */
  readonly telemetry?: Telemetry | undefined
  /**
   * `'anywhere'`: `invoke` (of a TCC participant `try`) may have effects outside of `tx`. So it is written down that it begins, in a
   * commit of its own, and an attempt that failed, or whose process died, may have done something and is compensated (cancelled).
   * `'tx'`: all that it does is written through `tx`. Then what was not committed is not compensated, a refusal after an attempt
   * that failed is as good as at the first, and the commit is saved. Change it to `'tx'` when no saga is open that an attempt
   * failed in. @default 'anywhere'
   */
  readonly effects?: 'anywhere' | 'tx' | undefined
  /**
   * As of a sink with an inbox: commands that are ready together may share a transaction. Good where they do not want the
   * same rows. @default false
   */
  readonly sharesTransactions?: boolean | undefined
}

/** Their names: each kind of participant adds its own. */
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
