/**
 * A participant of `.tcc` that writes one function: PostgreSQL keeps what it did, unseen and locked, until the saga is decided
 * (`PREPARE TRANSACTION`), and then commits it or rolls it back, on any connection of any instance.
 *
 *   try       begun (a commit) -> handler -> prepared -> answered (a commit)
 *   confirm   COMMIT PREPARED  -> answered (a commit)
 *   cancel    refused from here on (a commit) -> ROLLBACK PREPARED -> answered (a commit)
 *
 * A process may die between any two of these: the next one that gets the command goes on. The clock that is trusted is
 * nobody's. Not guaranteed: that branches of one saga become visible at one instant.
 *
 * @see docs/transactions.md, "XA"
 */
import type { NameOptions } from '../../binder/bindings/binding-name.ts'
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { SECOND, systemClock } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/options.ts'
import { PREPARING_IS_OFF, SqlCannotPrepare, type SqlClient } from '../../core/sql.ts'
import { TCC } from '../wire/wire.ts'
import { participantBinding } from './binding.ts'
import type { ParticipantContext } from './command-handler.ts'
import { PARTICIPANT_OPTIONS, type ParticipantOptions } from './options.ts'
import { requirePrepare, xaDuties } from './xa-duties.ts'
import { XaRows } from './xa-rows.ts'

/** Options of `xaParticipant`: those of `participant`. Each command has a transaction of its own, none is shared. */
export interface XaParticipantOptions extends Omit<ParticipantOptions, 'sharesTransactions'> {
  /**
   * How long a statement of the handler waits for a row, in ms: another saga may hold it until it is decided. Then the call
   * failed and is made again, and what confirms the other one is not kept waiting behind it. @default 5 seconds
   */
  readonly lockTimeoutMs?: number | undefined
}

/**
 * What an XA participant does for a saga: all of it written through `tx`, which commits when the saga is decided. Returns the
 * reply's result (JSON). Throw a `Refusal` to say no: nothing was done. Called again when it failed, and when its process
 * died: what the call before wrote is rolled back.
 */
export type XaHandler<Request, Result = unknown> = (
  request: Request,
  context: ParticipantContext,
) => Result | Promise<Result>

const { sharesTransactions: _, ...OWN_OPTIONS } = PARTICIPANT_OPTIONS
const NAMES = optionNames<XaParticipantOptions>({ ...OWN_OPTIONS, lockTimeoutMs: true })
const LOCK_TIMEOUT_MS = 5 * SECOND
const MAX_LOCK_TIMEOUT_MS = 2 ** 31 - 1

/**
 * A sink for the command channel of a `.tcc` step, or of a branch: to these it is a `tccParticipant`. The binder's `sends`
 * needs the reply channel: `sagaReplies('orders')`. The tables are those of `migrateParticipant`; the server needs
 * `max_prepared_transactions`, without which the binding does not begin (`SqlCannotPrepare`, in its health).
 * @throws SqlCannotPrepare when the `SqlClient` cannot prepare; TypeError / RangeError naming the option
 */
export function xaParticipant<
  In,
  Out,
  Result,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: XaParticipantOptions & NameOptions<Group, Name>,
  handler: XaHandler<Out, Result>,
): SinkBinding<NoInfer<Name>> {
  const path = `xaParticipant("${requireChannel('xaParticipant', channel).name}")`
  refuseUnknown(path, options, NAMES)
  if (typeof handler !== 'function') throw invalidOption(`${path}.handler`, handler, 'a function')
  const { lockTimeoutMs: asked = LOCK_TIMEOUT_MS, ...rest } = options
  const lockTimeoutMs = requireInteger(`${path}.lockTimeoutMs`, asked, 1, MAX_LOCK_TIMEOUT_MS)
  return participantBinding<In, Out>(channel, rest, {
    path,
    kind: TCC,
    duties: (barrier, { sql, schema }) => {
      requirePrepare(sql)
      return xaDuties({ sql, barrier, rows: new XaRows(schema), clock: systemClock, lockTimeoutMs }, handler)
    },
    ready: requirePreparing,
  }) as SinkBinding<NoInfer<Name>>
}

/** @throws SqlCannotPrepare */
async function requirePreparing(sql: SqlClient): Promise<void> {
  const { rows } = await sql.query<{ most: number }>(`SELECT current_setting('max_prepared_transactions')::int AS most`)
  if (rows[0]?.most === 0) throw new SqlCannotPrepare(PREPARING_IS_OFF)
}
