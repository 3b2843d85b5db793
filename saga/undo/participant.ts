/**
 * A participant of `.tcc` that writes one function and commits at once: how the rows were is kept by triggers, in the same
 * transaction, and put back when the saga turns back. Until it is decided the rows are refused to all other writers.
 *
 *   try       handler, images, answer: one commit
 *   confirm   images and row locks dropped, answer: one commit
 *   cancel    rows compared and put back, images and row locks dropped, answer: one commit
 *
 * So a process may die anywhere: what was not committed is done again. Not guaranteed: that others do not read what may still
 * be undone.
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

/** Options of `undoParticipant`: those of `participant`. Each command has a transaction of its own, none is shared. */
export interface UndoParticipantOptions extends Omit<ParticipantOptions, 'effects' | 'sharesTransactions'> {
  /**
   * How long a call waits for rows that another saga or transaction holds, in ms. While a saga holds one the call is rolled back and
   * made again, so nothing is held meanwhile. Then it failed, and the saga's `retry` follows. At most half of `concurrency` wait,
   * rounded down: any other call fails at once, so that confirmations and cancellations are not behind it. @default 5 seconds
   */
  readonly lockTimeoutMs?: number | undefined
  /**
   * Unprotected tables that the handler may write, named as in SQL: its writes there stay when the saga turns back, such as lines of a log. A
   * write to any other unprotected table fails permanently. @default none
   */
  readonly alsoWrites?: readonly string[] | undefined
}

/**
 * What an undo participant does for a saga: all of it written through `tx`, to tables that `undo.protect` protects. Returns the
 * reply's result (JSON). Throw a `Refusal` to say no: nothing was done. Called again when it failed, and when a row that it wants is
 * held by another saga: what the call before wrote is rolled back.
 */
export type UndoHandler<Request, Result = unknown> = (
  request: Request,
  context: ParticipantContext,
) => Result | Promise<Result>

const { effects: _, sharesTransactions: __, ...OWN_OPTIONS } = PARTICIPANT_OPTIONS
const NAMES = optionNames<UndoParticipantOptions>({ ...OWN_OPTIONS, lockTimeoutMs: true, alsoWrites: true })

/**
 * A sink for the command channel of a `.tcc` step, or of a branch: to these it is a `tccParticipant`. The binder's `sends`
 * needs the reply channel: `sagaReplies('orders')`. The tables are those of `migrateParticipant`.
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
