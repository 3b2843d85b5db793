/** Context of the calls of a participant's handlers. */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { SendingTransaction } from '../../outbox/transaction-with-send.ts'
import { type CommandHeaders, REPLIES } from '../wire/wire.ts'

/** Context of a participant's handlers, beside the request. */
export interface ParticipantContext {
  /**
   * Write the effect through it; have no other effect, or deduplicate that by `key`. `tx.send(channel, payload)` sends a message
   * that leaves if and only if the effect commits.
   */
  readonly tx: SendingTransaction
  /**
   * `<saga>/<id>/<step>`: the same in every repetition and in the compensation. Two services may have sagas of one name
   * and id: where these meet add `service`. An id may be started again once its saga was undone, or forgotten: add `birth`.
   */
  readonly key: string
  /** The service of the coordinator: the reply channel without `.saga-replies`. */
  readonly service: string
  /** Tells the saga from an earlier one with its id; empty when its coordinator does not say. */
  readonly birth: string
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  /** The message: its signal, its log, its headers. */
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
