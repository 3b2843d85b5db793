import type { EncodedMessage } from '../../channel/message.ts'

/** More messages on trial than any binding has slots. */
const MOST_MESSAGES = 10_000

/**
 * Counts each message's failed trials since the circuit opened. While a system that the handler needs is down, a failed trial
 * says nothing about the message, so the first `limit` use no attempt. Kept by id, not on the delivery, so a redelivery does not
 * reset the count.
 */
export class TrialFailureCounts {
  readonly #limit: number
  readonly #taken: Map<string, number> = new Map()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Records a failed trial of this message. @returns true if it is not an attempt */
  take({ source, id }: EncodedMessage): boolean {
    const name = JSON.stringify([source, id])
    const taken = this.#taken.get(name) ?? 0
    if (taken >= this.#limit) return false
    this.#taken.set(name, taken + 1)
    if (this.#taken.size > MOST_MESSAGES) for (const oldest of this.#taken.keys()) return this.#taken.delete(oldest)
    return true
  }

  forget(): void {
    this.#taken.clear()
  }
}
