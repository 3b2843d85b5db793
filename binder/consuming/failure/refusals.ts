import { writeFault } from '../../../core/write-fault.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { Hindrance, PublishOutcome } from '../../transport/transport.ts'

/**
 * Outputs, retries and dead letters that the binding lacks the right to write. They wait until an operator grants it. The list of
 * messages identifies one send.
 */
export class Refusals {
  readonly #reasons = new Map<readonly EncodedMessage[], Error>()
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
    this.#reasons.set(sending, reason)
    this.#tell()
  }

  /** Ends a send whose messages are all confirmed or given up. */
  over(sending: readonly EncodedMessage[]): void {
    if (this.#reasons.delete(sending)) this.#tell()
  }

  #tell(): void {
    const [reason] = this.#reasons.values()
    this.#onChange(reason && { reason, isPassing: false })
  }
}
