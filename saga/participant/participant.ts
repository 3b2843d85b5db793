/**
 * The other side of a command: effect, deduplication and reply in one transaction of the participant's database.
 *
 * - `Refusal` from `invoke` is a definite no: what the handler wrote is rolled back, the refusal is kept and answered in
 *   a second transaction. A crash between the two leaves nothing: the command comes again and is decided again. After an
 *   attempt that failed, maybe with an effect outside of the transaction, it is no definite no: the answer is `failed`,
 *   `final`, and the step is undone. With `effects: 'tx'` nothing is outside, and it is one.
 * - Any other error rolls back and is retried here first (the binding's `maxAttempts`, blocking). After the last attempt,
 *   or at once with `retryable === false`, the answer is `failed`: the coordinator asks again, or compensates. A command
 *   is therefore not dead-lettered because its handler failed; only when the database does not take the answer either,
 *   and then the coordinator's timeout asks again.
 */

import type { NameOptions } from '../../binder/bindings/binding-name-types.ts'
import type { SinkBinding } from '../../binder/bindings/declarations.ts'
import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { participantBinding, requireHandlers } from './binding.ts'
import type { ParticipantContext } from './context.ts'
import { stepDuties } from './operation-handlers.ts'
import { isAllInTx, PARTICIPANT_OPTIONS, type ParticipantOptions } from './options.ts'

/** Handlers of a participant: one that acts, one that undoes. */
export interface ParticipantHandlers<Request> {
  /** Does it. Returns the reply's result (JSON). Throw a `Refusal` to say no: nothing was done. */
  readonly invoke: (request: Request, context: ParticipantContext) => unknown
  /** Undoes it: called once, and only when `invoke` was committed or, with effects `'anywhere'`, began and did not refuse. Must not refuse. */
  readonly compensate: (request: Request, context: ParticipantContext) => void | Promise<void>
}

const NAMES = optionNames<ParticipantOptions>(PARTICIPANT_OPTIONS)

/**
 * A sink for a command channel. The binder's `sends` needs the reply channel: `sagaReplies('orders')`.
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
