import type { EncodedMessage } from '../../channel/message.ts'

const MOST_MESSAGES = 10_000

/**
 * How often each message was taken away while its handler ran: a handler that blocks the event loop beyond the session, or runs
 * beyond RabbitMQ's `consumer_timeout`. Once says nothing of the message, members come and go; from the second time on each is an
 * attempt, or the same message would be handled for ever. Counted by id and in this process.
 */
export class TakenAway {
  readonly #times: Map<string, number> = new Map()

  add(message: EncodedMessage): void {
    const name = nameOf(message)
    const times = (this.#times.get(name) ?? 0) + 1
    this.#times.delete(name)
    this.#times.set(name, times)
    if (this.#times.size > MOST_MESSAGES)
      for (const oldest of this.#times.keys()) return void this.#times.delete(oldest)
  }

  /** Attempts that count for this. */
  attempts(message: EncodedMessage): number {
    if (this.#times.size === 0) return 0
    return Math.max(0, (this.#times.get(nameOf(message)) ?? 0) - 1)
  }

  /** It has come to its end. */
  forget(message: EncodedMessage): void {
    if (this.#times.size > 0) this.#times.delete(nameOf(message))
  }
}

const nameOf = ({ source, id }: EncodedMessage): string => JSON.stringify([source, id])
