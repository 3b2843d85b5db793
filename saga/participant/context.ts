/** Context of the calls of a participant's handlers. */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { SendingTransaction } from '../../outbox/transaction-with-send.ts'
import { type CommandHeaders, REPLIES } from '../wire/wire.ts'

/** Context of a participant's handlers, beside the request. */
export interface ParticipantContext {
  /**
   * Transaction for the effect. Have no other effects, or deduplicate them by `key`. `tx.send(channel, payload)` sends a message
   * if and only if the effect commits.
   */
  readonly tx: SendingTransaction
  /**
   * `<saga>/<id>/<step>`: the same in every repetition and in the compensation. Two services may have sagas with the same name
   * and id: add `service` where both can occur. An id may be started again after its saga was compensated or deleted: add
   * `birth`.
   */
  readonly key: string
  /** Service of the coordinator: the reply channel without `.saga-replies`. */
  readonly service: string
  /** Distinguishes the saga from an earlier one with the same id; empty when its coordinator does not send it. */
  readonly birth: string
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  /** The message, with its signal, log and headers. */
  readonly message: HandlerContext
}

export function contextOf(
  tx: SendingTransaction,
  command: CommandHeaders,
  message: HandlerContext,
): ParticipantContext {
  const { saga, sagaId, step, key, birth, replyTo } = command
  const service = replyTo.endsWith(REPLIES) ? replyTo.slice(0, -REPLIES.length) : replyTo
  return { tx, key, service, birth, saga, sagaId, step, message }
}
