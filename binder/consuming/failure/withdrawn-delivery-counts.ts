import type { EncodedMessage } from '../../channel/message.ts'

const MOST_MESSAGES = 10_000

interface Losses {
  /** Losses in calls with other messages, any of which may have been the cause. */
  shared: number
  alone: number
}

/**
 * Counts how often each message was withdrawn while its handler ran: a handler that blocks the event loop longer than the
 * session, or runs longer than RabbitMQ's `consumer_timeout`. Once proves nothing, because members join and leave; from the
 * second time on each is an attempt, or the same message would be handled forever. In a batch only calls with a single message
 * are attempts: a message that was withdrawn twice together with others is passed alone. Counted by id and in this process.
 */
export class WithdrawnDeliveryCounts {
  readonly #losses: Map<string, Losses> = new Map()

  /** @param isAlone true if it was the only message of the call */
  add(message: EncodedMessage, isAlone: boolean): void {
    const name = nameOf(message)
    const losses = this.#losses.get(name) ?? { shared: 0, alone: 0 }
    if (isAlone) losses.alone++
    else losses.shared++
    this.#losses.delete(name)
    this.#losses.set(name, losses)
    if (this.#losses.size > MOST_MESSAGES)
      for (const oldest of this.#losses.keys()) return void this.#losses.delete(oldest)
  }

  /** Returns the number of losses that count as attempts. */
  attempts(message: EncodedMessage): number {
    const losses = this.#of(message)
    if (losses === undefined) return 0
    return losses.shared > 0 ? losses.alone : losses.alone - 1
  }

  /** Tells whether it has to be passed without others. */
  isSuspect(message: EncodedMessage): boolean {
    const losses = this.#of(message)
    return losses !== undefined && losses.shared + losses.alone > 1
  }

  /** Forgets a message that has ended. */
  forget(message: EncodedMessage): void {
    if (this.#losses.size > 0) this.#losses.delete(nameOf(message))
  }

  #of(message: EncodedMessage): Losses | undefined {
    return this.#losses.size === 0 ? undefined : this.#losses.get(nameOf(message))
  }
}

const nameOf = ({ source, id }: EncodedMessage): string => JSON.stringify([source, id])
