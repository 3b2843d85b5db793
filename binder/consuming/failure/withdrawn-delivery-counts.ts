import { createHash } from 'node:crypto'
import type { EncodedMessage } from '../../channel/message.ts'
import { REDRIVE_RUN } from './dead-letter-message.ts'

const MOST_MESSAGES = 10_000

interface Losses {
  /** Losses in calls with other messages, any of which may have been the cause. */
  shared: number
  alone: number
  /** Number of attempts before a loss during the pause after the last one. */
  made: number
}

/**
 * Counts how often each message was withdrawn while its handler ran: a handler that blocks the event loop longer than the
 * session, or runs longer than RabbitMQ's `consumer_timeout`. Once proves nothing, because members join and leave; from the
 * second time on each is an attempt, or the same message would be handled forever. In a batch only calls with a single message
 * are attempts: a message that was withdrawn twice together with others is passed alone. A loss during the pause before the next
 * attempt is none, but the attempts before it count: otherwise a pause longer than `consumer_timeout` would repeat the first one
 * forever. Counted by id and in this process.
 */
export class WithdrawnDeliveryCounts {
  readonly #losses: Map<string, Losses> = new Map()

  /** @param isAlone true if it was the only message of the call */
  add(message: EncodedMessage, isAlone: boolean): void {
    const losses = this.#keep(message)
    if (isAlone) losses.alone++
    else losses.shared++
  }

  /** Keeps the number of attempts of a message that was withdrawn during the pause before its next one. */
  addPaused(message: EncodedMessage, attempts: number): void {
    this.#keep(message).made = attempts
  }

  /** Returns the number of losses that count as attempts. */
  attempts(message: EncodedMessage): number {
    const losses = this.#of(message)
    if (losses === undefined) return 0
    return losses.shared > 0 ? losses.alone : Math.max(losses.alone - 1, 0)
  }

  /** Returns the number of attempts that were made before it was withdrawn during a pause. */
  attemptsMade(message: EncodedMessage): number {
    return this.#of(message)?.made ?? 0
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

  #keep(message: EncodedMessage): Losses {
    const name = nameOf(message)
    const losses = this.#losses.get(name) ?? { shared: 0, alone: 0, made: 0 }
    this.#losses.delete(name)
    this.#losses.set(name, losses)
    if (this.#losses.size > MOST_MESSAGES)
      for (const oldest of this.#losses.keys()) {
        this.#losses.delete(oldest)
        break
      }
    return losses
  }

  #of(message: EncodedMessage): Losses | undefined {
    return this.#losses.size === 0 ? undefined : this.#losses.get(nameOf(message))
  }
}

/**
 * A message that was sent back by a redrive has all its attempts again. Without an id of its own, its content identifies it: equal
 * messages share their losses.
 */
function nameOf({ source, id, headers, key, body, hasNewId }: EncodedMessage): string {
  if (hasNewId !== true) return JSON.stringify([source, id, headers[REDRIVE_RUN]])
  const digest = createHash('sha256').update(body ?? '')
  return JSON.stringify([source, key, digest.digest('base64')])
}
