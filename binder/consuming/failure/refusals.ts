import { writeFault } from '../../../core/write-fault.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { Hindrance, PublishOutcome, TransportDelivery } from '../../transport/transport.ts'

/**
 * Writes that a binding may not do until an operator grants the right: outputs, retries and dead letters, each send by its list of
 * messages, and writes of its handlers, by their deliveries.
 */
export class Refusals {
  readonly #reasons = new Map<readonly EncodedMessage[] | TransportDelivery, Error>()
  readonly #onChange: (hindrance: Hindrance | undefined) => void

  constructor(onChange: (hindrance: Hindrance | undefined) => void) {
    this.#onChange = onChange
  }

  /** Takes the outcomes of one try. An unreachable broker does not clear the reason; a confirmed message does. */
  heard(sending: readonly EncodedMessage[], outcomes: readonly PublishOutcome[]): void {
    const reason = outcomes.find((outcome) => outcome !== undefined && writeFault(outcome) === 'operator')
    if (reason === undefined) {
      if (outcomes.includes(undefined)) this.over(sending)
      return
    }
    this.waits(sending, reason)
  }

  waits(what: readonly EncodedMessage[] | TransportDelivery, reason: Error): void {
    this.#reasons.set(what, reason)
    this.#tell()
  }

  /** Ends a send whose messages are all confirmed or given up, or a delivery that has come to its end. */
  over(sending: readonly EncodedMessage[] | TransportDelivery): void {
    if (this.#reasons.size > 0 && this.#reasons.delete(sending)) this.#tell()
  }

  #tell(): void {
    const [reason] = this.#reasons.values()
    this.#onChange(reason && { reason, isPassing: false })
  }
}
