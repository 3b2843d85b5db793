/**
 * The participant of `.tcc`: it reserves, and confirms or cancels the reservation when the saga asks for it. Each operation
 * commits in one transaction with the barrier's row and the reply, so a repetition is harmless, a cancellation without a `try` is
 * empty, and a `try` that arrives after its cancellation is refused.
 *
 * `try` may also have effects outside of its transaction, such as a hold on a card. The participant commits a record before it
 * calls `try`, so it calls `cancel` when `try` throws, its process dies, or its reply is lost.
 */

import type { NameOptions } from '../../binder/bindings/binding-name-types.ts'
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { Stored } from '../json.ts'
import { participantBinding, requireHandlers } from '../participant/binding.ts'
import type { ParticipantContext } from '../participant/context.ts'
import { isAllInTx, PARTICIPANT_OPTIONS, type ParticipantOptions } from '../participant/options.ts'
import { TCC } from '../wire/wire.ts'
import { type TccFunctions, tccDuties } from './operation-handlers.ts'

/** Options of `tccParticipant`. */
export type TccParticipantOptions = ParticipantOptions

/** Context of `confirm` and `cancel`, beside the request. */
export interface TccParticipantContext<Result = unknown> extends ParticipantContext {
  /** Result of `try`; `undefined` when it was not committed. */
  readonly result: Result
  /**
   * True: `try` was committed with its writes through `tx`. False: these writes do not exist, but `try` began, so its effects
   * elsewhere may have happened. Always true in `confirm`.
   */
  readonly tried: boolean
}

/** Handlers of a TCC participant. */
export interface TccHandlers<Request, Result = unknown> {
  /** Reserves. Returns the reply's result (JSON). Throw a `Refusal` to refuse, having done nothing. */
  readonly try: (request: Request, context: ParticipantContext) => Result | Promise<Result>
  /** Makes the reservation final: called once, after `try` was committed. Must not refuse. */
  readonly confirm: (request: Request, context: TccParticipantContext<Stored<Result>>) => void | Promise<void>
  /**
   * Releases the reservation: called once, and only when `try` began. Check `tried` before you undo rows in the database. Must
   * not refuse.
   */
  readonly cancel: (
    request: Request,
    context: TccParticipantContext<Stored<Result> | undefined>,
  ) => void | Promise<void>
}

const NAMES = optionNames<TccParticipantOptions>(PARTICIPANT_OPTIONS)

/**
 * Creates a sink for the command channel of a `.tcc` step. Add the reply channel to the binder's `sends`:
 * `sagaReplies('orders')`. The tables are created by `migrateParticipant`.
 * @throws TypeError / RangeError naming the option
 */
export function tccParticipant<
  In,
  Out,
  Result,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: TccParticipantOptions & NameOptions<Group, Name>,
  handlers: TccHandlers<Out, Result>,
): SinkBinding<NoInfer<Name>> {
  const path = `tccParticipant("${requireChannel('tccParticipant', channel).name}")`
  refuseUnknown(path, options, NAMES)
  const isInside = isAllInTx(path, options.effects)
  requireHandlers(path, handlers, ['try', 'confirm', 'cancel'])
  return participantBinding(channel, options, {
    path,
    kind: TCC,
    duties: (barrier) => tccDuties(barrier, handlers as unknown as TccFunctions<Out, ParticipantContext>, isInside),
  }) as SinkBinding<NoInfer<Name>>
}
