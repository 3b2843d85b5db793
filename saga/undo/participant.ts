/**
 * A participant of `.tcc` that consists of one function and commits at once. Triggers record the previous state of rows in the
 * same transaction, and the participant restores it if the saga is undone. Until the saga is decided, other writers cannot change
 * the rows.
 *
 *   try       handler, images, reply: one commit
 *   confirm   images and row locks dropped, reply: one commit
 *   cancel    rows compared and restored, images and row locks dropped, reply: one commit
 *
 * So a process may die at any point: uncommitted work is repeated. Not guaranteed: that other transactions do not read changes
 * that may still be undone.
 *
 * @see docs/transactions/xa-and-undo.md, "Undo"
 */

import type { NameOptions } from '../../binder/bindings/binding-name-types.ts'
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { systemClock } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { participantBinding } from '../participant/binding.ts'
import type { ParticipantContext } from '../participant/context.ts'
import { PARTICIPANT_OPTIONS, type ParticipantOptions } from '../participant/options.ts'
import { RowWaitLimit } from '../participant/row-wait-limit.ts'
import { TCC } from '../wire/wire.ts'
import { Images } from './branch-image-store.ts'
import { HELD_TIMEOUT_MS, MAX_HELD_TIMEOUT_MS } from './held-row-retries.ts'
import { undoDuties } from './operation-handlers.ts'
import { Relations } from './table-structure.ts'

/** Options of `undoParticipant`: those of `participant`, except that each command has its own transaction. */
export interface UndoParticipantOptions extends Omit<ParticipantOptions, 'effects' | 'sharesTransactions'> {
  /**
   * How long a call waits for rows that another saga or transaction holds, in ms. While a saga holds a row, the call is rolled
   * back and repeated, so it holds nothing while it waits. After that the call has failed, and the saga's `retry` applies. At
   * most half of `concurrency` wait, rounded down; further calls fail at once, so that confirmations and cancellations do not
   * queue behind them.
   * @default 5 seconds
   */
  readonly lockTimeoutMs?: number | undefined
  /**
   * Unprotected tables that the handler may write, named as in SQL, such as a log. These writes are not undone. A write to any
   * other unprotected table fails permanently. @default none
   */
  readonly alsoWrites?: readonly string[] | undefined
}

/**
 * Handler of an undo participant. All its writes go through `tx`, to tables that `undo.protect` protects. Returns the reply's
 * result (JSON). Throw a `Refusal` to refuse, having done nothing. Called again after a failure, and when another saga holds a
 * row that it needs; the writes of the previous call are rolled back.
 */
export type UndoHandler<Request, Result = unknown> = (
  request: Request,
  context: ParticipantContext,
) => Result | Promise<Result>

const { effects: _, sharesTransactions: __, ...OWN_OPTIONS } = PARTICIPANT_OPTIONS
const NAMES = optionNames<UndoParticipantOptions>({ ...OWN_OPTIONS, lockTimeoutMs: true, alsoWrites: true })

/**
 * Creates a sink for the command channel of a `.tcc` step or of a branch, which treat it as a `tccParticipant`. Add the reply
 * channel to the binder's `sends`: `sagaReplies('orders')`. The tables are created by `migrateParticipant`.
 * @throws TypeError / RangeError naming the option
 */
export function undoParticipant<
  In,
  Out,
  Result,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: UndoParticipantOptions & NameOptions<Group, Name>,
  handler: UndoHandler<Out, Result>,
): SinkBinding<NoInfer<Name>> {
  const path = `undoParticipant("${requireChannel('undoParticipant', channel).name}")`
  refuseUnknown(path, options, NAMES)
  if (typeof handler !== 'function') throw invalidOption(`${path}.handler`, handler, 'a function')
  const { lockTimeoutMs: asked = HELD_TIMEOUT_MS, alsoWrites = [], ...rest } = options
  const lockTimeoutMs = requireInteger(`${path}.lockTimeoutMs`, asked, 1, MAX_HELD_TIMEOUT_MS)
  if (!Array.isArray(alsoWrites) || alsoWrites.some((table) => typeof table !== 'string'))
    throw invalidOption(`${path}.alsoWrites`, alsoWrites, 'an array of table names')
  return participantBinding<In, Out>(channel, rest, {
    path,
    kind: TCC,
    duties: (barrier, { given, schema, concurrency }) => {
      const [images, relations] = [new Images(schema), new Relations(schema)]
      const room = new RowWaitLimit(concurrency, given)
      return undoDuties({ barrier, images, relations, room, clock: systemClock, lockTimeoutMs, alsoWrites }, handler)
    },
  }) as SinkBinding<NoInfer<Name>>
}
