import { readTraceContext, type TraceContext } from '../../../core/trace-context.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { SendError, TransportError } from '../../errors.ts'
import type { Answer } from '../../requests/failed-request-answer.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import type { HandlingDependencies } from '../handling-dependencies.ts'
import { AllWithdrawnSignal } from './all-withdrawn-signal.ts'
import { type Failure, TRIMMED_HEADER_BYTES, toDeadLetter, toTrimmedDeadLetter } from './dead-letter-message.ts'
import { type ConfirmHost, outcomeOf, publishEach, publishUntilConfirmed } from './publish-until-confirmed.ts'

/** Sends about deliveries, each until the broker has confirmed it, for as long as the delivery is ours. */
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

  /** For as long as one of the deliveries is ours. @returns for each message why the broker does not have it */
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

  /** Publishes the delivery's replacement; where the broker can, both settle in one transaction. @throws as `publishUntilConfirmed` */
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
   * Publishes the message unchanged. If the broker permanently refuses it, with fewer headers, at last with none: the body is worth more.
   * To a channel that is not there it goes unchanged, too: the publisher makes the channel again.
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

  /** `undefined`: the rest of its end follows. An answer that cannot be sent holds up nothing: who asked runs out of time. */
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

/** Parent for spans about a delivery without a handler call under way. */
export function parentOf({ message }: TransportDelivery): TraceContext | 'none' {
  return readTraceContext(message.headers) ?? 'none'
}

function isUnroutable(error: unknown): boolean {
  return error instanceof SendError && error.cause instanceof TransportError && error.cause.kind === 'unroutable'
}
