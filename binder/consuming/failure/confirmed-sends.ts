import { readTraceContext, type TraceContext } from '../../../core/trace-context.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { SendError, TransportError } from '../../errors.ts'
import type { Answer } from '../../requests/failed-request-answer.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import type { HandlingDependencies } from '../handling-dependencies.ts'
import { AllWithdrawnSignal } from './all-withdrawn-signal.ts'
import { type Failure, TRIMMED_HEADER_BYTES, toDeadLetter, toTrimmedDeadLetter } from './dead-letter-message.ts'
import { type ConfirmHost, outcomeOf, publishEach, publishUntilConfirmed } from './publish-until-confirmed.ts'

/** Sends messages because of deliveries, each until the broker has confirmed it, while the delivery belongs to this process. */
export class ConfirmedSends {
  readonly #binding: string
  readonly #dependencies: HandlingDependencies

  constructor(binding: string, dependencies: HandlingDependencies) {
    this.#binding = binding
    this.#dependencies = dependencies
  }

  confirmed(
    messages: readonly EncodedMessage[],
    delivery: TransportDelivery,
    parent?: TraceContext | 'none',
  ): Promise<void> {
    const host = this.#confirming((left) => this.#dependencies.publish(left, parent))
    return publishUntilConfirmed(host, messages, () => AbortSignal.any([delivery.signal, this.#dependencies.drain]))
  }

  /**
   * Sends while one of the deliveries belongs to this process. @returns for each message the reason why the broker does not have
   * it
   */
  async each(
    messages: readonly EncodedMessage[],
    deliveries: readonly TransportDelivery[],
  ): Promise<readonly unknown[]> {
    const loans = new AllWithdrawnSignal(deliveries)
    const host = this.#confirming((left) => this.#dependencies.publish(left))
    try {
      return await publishEach(host, messages, () => AbortSignal.any([loans.signal, this.#dependencies.drain]))
    } finally {
      loans.dispose()
    }
  }

  /**
   * Publishes the delivery's replacement; if the broker can, both settle in one transaction. @throws the errors of
   * `publishUntilConfirmed`
   */
  async replacement(
    message: EncodedMessage,
    delivery: TransportDelivery,
    parent: TraceContext | 'none',
  ): Promise<void> {
    const { move } = this.#dependencies
    if (move === undefined) return this.confirmed([message], delivery, parent)
    const { drain } = this.#dependencies
    const publish = async (messages: readonly EncodedMessage[]) => [await outcomeOf(move(delivery, messages))]
    await publishUntilConfirmed(this.#confirming(publish), [message], () => AbortSignal.any([delivery.signal, drain]))
  }

  /**
   * Publishes the message unchanged. If the broker permanently refuses it, publishes it with fewer headers, in the end with none,
   * because the body is worth more. If the channel does not exist the message stays unchanged, because the publisher creates the
   * channel again.
   */
  async letter(delivery: TransportDelivery, failure: Failure): Promise<void> {
    const { message } = delivery
    const parent = parentOf(delivery)
    let letter = toDeadLetter(message, failure)
    for (const headerBytes of TRIMMED_HEADER_BYTES) {
      try {
        await this.replacement(letter, delivery, parent)
        return
      } catch (refused) {
        if (this.#gone(delivery)) throw refused
        const fields = { err: refused, binding: this.#binding, messageId: message.id, position: delivery.position }
        if (isUnroutable(refused)) {
          this.#dependencies.logger.warn(fields, 'the dead letter channel is missing, sending again')
          continue
        }
        this.#dependencies.logger.warn(fields, 'the dead letter is refused as it is, headers are left out')
        letter = toTrimmedDeadLetter(message, failure, headerBytes)
      }
    }
    await this.replacement(letter, delivery, parent)
  }

  /**
   * Sends an answer. `undefined`: the rest of the delivery's end follows. A failed answer delays nothing; the requester's time
   * limit applies.
   */
  async answer({ message, settles }: Answer, delivery: TransportDelivery): Promise<'handled' | 'returned' | undefined> {
    try {
      await this.confirmed([message], delivery, parentOf(delivery))
    } catch (cause) {
      if (this.#gone(delivery)) return 'returned'
      const fields = { err: cause, binding: this.#binding, messageId: delivery.message.id }
      this.#dependencies.logger.warn(fields, 'the answer to a request that failed could not be sent')
    }
    return settles ? 'handled' : undefined
  }

  #confirming(publish: ConfirmHost['publish']): ConfirmHost {
    const { clock, logger, confirmsSingly, stalledWrites } = this.#dependencies
    return { clock, logger, binding: this.#binding, stalledWrites, confirmsSingly, publish }
  }

  #gone(delivery: TransportDelivery): boolean {
    return delivery.signal.aborted || this.#dependencies.drain.aborted
  }
}

/** Returns the parent for spans about a delivery without a running handler call. */
export function parentOf({ message }: TransportDelivery): TraceContext | 'none' {
  return readTraceContext(message.headers) ?? 'none'
}

function isUnroutable(error: unknown): boolean {
  return error instanceof SendError && error.cause instanceof TransportError && error.cause.kind === 'unroutable'
}
