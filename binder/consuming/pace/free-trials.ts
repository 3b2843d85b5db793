import type { EncodedMessage } from '../../channel/message.ts'

/** More messages on trial than any binding has slots. */
const MOST_MESSAGES = 10_000

/**
 * How often each message was on trial in vain since the circuit opened. That its trial failed says nothing of a message
 * while what the handler calls is down, so the first `limit` are no attempts. Counted by id and here, not with the
 * delivery: a broker that hands the message out again (RabbitMQ does after half an hour) does not begin anew.
 */
export class FreeTrials {
  readonly #limit: number
  readonly #taken: Map<string, number> = new Map()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** A trial of this message failed. @returns whether that is no attempt */
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
