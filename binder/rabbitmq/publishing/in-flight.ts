import type { AmqpMessage } from '../link/amqplib-types.ts'
import { idOf } from '../wire/envelope.ts'
import type { PublishEntry } from './publish-call.ts'

/** Messages that were written to the channel and are not confirmed. */
export class InFlight {
  readonly #entries: Set<PublishEntry> = new Set()

  get size(): number {
    return this.#entries.size
  }

  /** True while a caller waits for one of the messages. The others have timed out. */
  get isAwaited(): boolean {
    for (const entry of this.#entries) if (!entry.settled) return true
    return false
  }

  add(entry: PublishEntry): void {
    this.#entries.add(entry)
  }

  /**
   * @returns false when the message is no longer in flight
   */
  delete(entry: PublishEntry): boolean {
    return this.#entries.delete(entry)
  }

  /**
   * Marks a message that the broker returned. An id may be in flight to several destinations, so exchange and routing key
   * decide.
   */
  returned({ fields, properties }: AmqpMessage): void {
    const id = idOf(properties)
    for (const entry of this.#entries) {
      if (entry.message.id !== id || entry.exchange !== fields.exchange || entry.returned) continue
      if (entry.routingKey !== fields.routingKey) continue
      entry.returned = true
      return
    }
  }

  /** Removes and returns all messages, in the order in which they were written. */
  drain(): readonly PublishEntry[] {
    const entries = [...this.#entries]
    this.#entries.clear()
    return entries
  }
}
