import { writeFault } from '../../../core/write-fault.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { Hindrance, PublishOutcome } from '../../transport/transport.ts'

/**
 * What a binding may not write: outputs, retries and dead letters that wait until an operator gives it the right. Each
 * sending is known by its messages.
 */
export class Refusals {
  readonly #reasons = new Map<readonly EncodedMessage[], Error>()
  readonly #onChange: (hindrance: Hindrance | undefined) => void

  constructor(onChange: (hindrance: Hindrance | undefined) => void) {
    this.#onChange = onChange
  }

  /** Outcomes of one try. A broker that is away says nothing of rights: the reason stays until a message is confirmed. */
  heard(sending: readonly EncodedMessage[], outcomes: readonly PublishOutcome[]): void {
    const reason = outcomes.find((outcome) => outcome !== undefined && writeFault(outcome) === 'operator')
    if (reason === undefined) {
      if (outcomes.includes(undefined)) this.over(sending)
      return
    }
    this.#reasons.set(sending, reason)
    this.#tell()
  }

  /** All of it is confirmed or given up. */
  over(sending: readonly EncodedMessage[]): void {
    if (this.#reasons.delete(sending)) this.#tell()
  }

  #tell(): void {
    const [reason] = this.#reasons.values()
    this.#onChange(reason && { reason, isPassing: false })
  }
}
