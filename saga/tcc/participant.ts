/**
 * The other side of `.tcc`: it reserves, and makes that final or gives it up when the saga says so. Each in one transaction
 * with the barrier's row and the answer, so a repetition is harmless, a cancellation without a `try` is empty, and a `try`
 * that comes after its cancellation is refused.
 *
 * `try` may also do something outside of its transaction, such as a hold on a card. That it was begun is committed before it
 * is called; so when it throws, when its process dies in the middle or when its answer is lost, `cancel` is called for it.
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
   * True: `try` was committed, what it wrote through `tx` is there. False: nothing of that is, but it was begun, so what it
   * did elsewhere may have happened. Always true in `confirm`.
   */
  readonly tried: boolean
}

/** Handlers of a TCC participant. */
export interface TccHandlers<Request, Result = unknown> {
  /** Reserves. Returns the reply's result (JSON). Throw a `Refusal` to say no: nothing was done. */
  readonly try: (request: Request, context: ParticipantContext) => Result | Promise<Result>
  /** Makes final what was reserved: called once, after `try` was committed. Must not refuse. */
  readonly confirm: (request: Request, context: TccParticipantContext<Stored<Result>>) => void | Promise<void>
  /** Gives it up: called once, and only when `try` was begun. Look at `tried` before you take back what is in the database. Must not refuse. */
  readonly cancel: (
    request: Request,
    context: TccParticipantContext<Stored<Result> | undefined>,
  ) => void | Promise<void>
}

const NAMES = optionNames<TccParticipantOptions>(PARTICIPANT_OPTIONS)

/**
 * A sink for the command channel of a `.tcc` step. The binder's `sends` needs the reply channel: `sagaReplies('orders')`. The
 * tables are those of `migrateParticipant`.
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
