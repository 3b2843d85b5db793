import type { HandlerContext } from '../binder/bindings/handler-types.ts'
import { newId } from '../core/ids.ts'
import { ackHeaders, type EventEnvelope, parseAck, signedFields } from './envelope.ts'
import { decodeOutcome, encodeOutcome, type Outcome } from './outcome.ts'
import { PendingAcks } from './pending-acks.ts'
import type { BusContext } from './shared-dependencies.ts'

/** Acknowledgements in both directions. Those to this instance itself are not sent over the broker. */
export class Acknowledgements {
  readonly pending = new PendingAcks()
  readonly #context: BusContext

  constructor(context: BusContext) {
    this.#context = context
  }

  /**
   * Sends the outcome to the publisher. Never rejects: without it the publisher sends the event again.
   * @param again true if it was sent before. Then not to itself over the broker, because it may be the echo of the own event
   */
  async give(event: EventEnvelope, outcome: Outcome, again: boolean): Promise<void> {
    const { address, self: sender, channels, connection, signer, times, logger } = this.#context
    const isOwn = event.sender === sender
    if (isOwn && (this.pending.answer(event.id, address, sender, outcome) || again)) return
    const body = encodeOutcome(outcome)
    const ack = { sender, of: event.id, to: event.sender, status: outcome.status, signature: undefined }
    const [id, time] = [newId(), times.next()]
    const signature = signer.sign(signedFields({ ...ack, kind: 'ack', id, time, from: address }), body)
    try {
      await connection.binder.send(channels.acks, body, { id, time, headers: ackHeaders({ ...ack, signature }) })
    } catch (error) {
      logger.warn({ err: error, eventId: event.id, to: event.sender }, 'bus: acknowledgement not sent')
    }
  }

  /** Handles a message of the channel. */
  arrived(body: Uint8Array, context: HandlerContext): void {
    const ack = parseAck(context)
    if (typeof ack !== 'string' && ack.to !== this.#context.self) return
    const admitted = this.#context.guard.admit(ack, body, context.id)
    if (admitted === undefined) return
    this.pending.answer(admitted.of, admitted.from, admitted.sender, decodeOutcome(admitted.status, body))
  }
}
