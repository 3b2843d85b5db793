/**
 * Participant of a command: effect, deduplication and reply commit in one transaction of the participant's database.
 *
 * - A `Refusal` from `invoke` is definite: the handler's writes are rolled back, and the refusal is stored and sent in a second
 *   transaction. After a crash between the two nothing is stored: the command is redelivered and decided again. After a failed attempt
 *   that may have had an effect outside of the transaction a refusal is not definite: the reply is `failed`, `final`, and the step is
 *   undone. With `effects: 'tx'` there are no outside effects, so it is definite.
 * - Any other error rolls back and is first retried here (the binding's `maxAttempts`, blocking). After the last attempt,
 *   or at once with `retryable === false`, the reply is `failed`: the coordinator sends the command again, or compensates. So a command
 *   is not dead-lettered because its handler failed, but only when the database does not accept the reply either; the coordinator's
 *   timeout then sends the command again.
 */

import type { NameOptions } from '../../binder/bindings/binding-name-types.ts'
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { participantBinding, requireHandlers } from './binding.ts'
import type { ParticipantContext } from './context.ts'
import { stepDuties } from './operation-handlers.ts'
import { isAllInTx, PARTICIPANT_OPTIONS, type ParticipantOptions } from './options.ts'

/** Handlers of a participant: one for the action, one for its compensation. */
export interface ParticipantHandlers<Request> {
  /** Performs the action. Returns the reply's result (JSON). Throw a `Refusal` to refuse, having done nothing. */
  readonly invoke: (request: Request, context: ParticipantContext) => unknown
  /**
   * Undoes the action: called once, and only when `invoke` was committed or, with effects `'anywhere'`, began and did not refuse.
   * Must not refuse.
   */
  readonly compensate: (request: Request, context: ParticipantContext) => void | Promise<void>
}

const NAMES = optionNames<ParticipantOptions>(PARTICIPANT_OPTIONS)

/**
 * Creates a sink for a command channel. Add the reply channel to the binder's `sends`: `sagaReplies('orders')`.
 * @throws TypeError / RangeError naming the option
 */
export function participant<
  In,
  Out,
  At extends string = string,
  Group extends string = string,
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: ParticipantOptions & NameOptions<Group, Name>,
  handlers: ParticipantHandlers<Out>,
): SinkBinding<NoInfer<Name>> {
  const path = `participant("${requireChannel('participant', channel).name}")`
  refuseUnknown(path, options, NAMES)
  requireHandlers(path, handlers, ['invoke', 'compensate'])
  const isInside = isAllInTx(path, options.effects)
  return participantBinding(channel, options, {
    path,
    kind: undefined,
    duties: (barrier) => stepDuties<Out, ParticipantContext>(barrier, handlers, isInside),
  }) as SinkBinding<NoInfer<Name>>
}
