import { createHash } from 'node:crypto'
import { DAY } from '../../core/clock.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import { isLetterOfOther, sourceOf } from '../channel/id-namespace.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { SendError } from '../errors.ts'
import type { TransportDelivery } from '../transport/transport.ts'
import { readDeadLetter } from './letter.ts'
import type { ResolvedRedrive } from './redrive.ts'
import type { RunCounts } from './run-patience.ts'
import type { RunPublisher } from './run-publisher.ts'
import { asBefore, sendBack } from './send-back.ts'

/** How long the inbox of another group remembers handled messages, by default. */
const INBOX_MS = 7 * DAY
/** Number of letters that are remembered to recognise copies. */
const MAX_COPY_KEYS = 100_000

/** Decides about each letter of a run: it is sent back, kept behind the mark, or dropped as a copy. */
export class LetterMoves {
  readonly #options: ResolvedRedrive
  readonly #counts: RunCounts
  readonly #publisher: RunPublisher
  /**
   * Letters that this run has sent back or kept, in time order. The copy of a letter that was given up may be the only one left.
   */
  readonly #passed: Set<string> = new Set()
  /** Letters that were counted although the database did not answer, by position, with their count. */
  readonly #unanswered: Map<string, 'sent' | 'kept'> = new Map()
  #isBeyondLimit = false
  #refusal: SendError | undefined
  #hasWarned = false
  #nextAt = 0

  constructor(options: ResolvedRedrive, counts: RunCounts, publisher: RunPublisher) {
    this.#options = options
    this.#counts = counts
    this.#publisher = publisher
  }

  /** True if there were more letters than the run may send back. */
  get isBeyondLimit(): boolean {
    return this.#isBeyondLimit
  }

  /** Reason why a letter was not sent back, thrown at the end of the run. */
  get refusal(): SendError | undefined {
    return this.#refusal
  }

  /**
   * Resolves when the letter is confirmed at its new place. @throws, without publishing, when the delivery is withdrawn before
   */
  async move(message: EncodedMessage, delivery: TransportDelivery): Promise<void> {
    this.#uncount(delivery)
    const { channel, group } = this.#options
    if (isLetterOfOther(message, { channel: channel.name, group })) return this.#keep(message, delivery)
    const before = asBefore(message, this.#options)
    const copyKey = copyKeyOf(before)
    if (this.#passed.has(copyKey)) {
      this.#counts.copies++
      return
    }
    const isChosen = await this.#choose(message)
    if (isChosen) {
      this.#warnOfAge(message)
      await this.#pace()
    }
    delivery.signal.throwIfAborted()
    const isSent = isChosen && (await this.#counted('sent', delivery, this.#goesBack(before, delivery)))
    if (isSent) this.#counts.sent++
    else await this.#keep(message, delivery)
    if (isSent && this.#options.to === 'nowhere') return
    this.#passed.add(copyKey)
    if (this.#passed.size > MAX_COPY_KEYS) for (const oldest of this.#passed) return void this.#passed.delete(oldest)
  }

  async #keep(message: EncodedMessage, delivery: TransportDelivery): Promise<void> {
    await this.#counted('kept', delivery, this.#publisher.keep(message, delivery))
    this.#counts.kept++
  }

  /** Counts a letter whose move may have succeeded: if it did, the letter is never redelivered. */
  async #counted<T>(count: 'sent' | 'kept', delivery: TransportDelivery, moving: Promise<T>): Promise<T> {
    try {
      return await moving
    } catch (error) {
      if (this.#publisher.isUnanswered(delivery)) {
        this.#counts[count]++
        this.#unanswered.set(delivery.position, count)
      }
      throw error
    }
  }

  /** Reverts the count of a redelivered letter, because it was not moved. */
  #uncount({ position }: TransportDelivery): void {
    const count = this.#unanswered.get(position)
    if (count === undefined) return
    this.#counts[count]--
    this.#unanswered.delete(position)
  }

  /** @returns false when it is too large to be sent back: it is then kept, and does not block the others */
  async #goesBack(before: EncodedMessage, delivery: TransportDelivery): Promise<boolean> {
    if (this.#options.to === 'nowhere') return true
    const refusal = await sendBack(before, this.#options, (message) => this.#publisher.publish(message, delivery))
    if (refusal === undefined) return true
    this.#options.logger.error(
      { err: refusal, messageId: before.id },
      'redrive keeps a letter that is too large to go back',
    )
    this.#refusal ??= refusal
    return false
  }

  /** Warns once in a run that other groups may apply old letters a second time. */
  #warnOfAge(message: EncodedMessage): void {
    const { to, channel, group, clock, logger } = this.#options
    const { failedAt } = readDeadLetter(message)
    if (this.#hasWarned || to !== 'channel' || failedAt === undefined || clock.now() - failedAt <= INBOX_MS) return
    this.#hasWarned = true
    logger.warn(
      { channel: channel.name, group, failedAt: new Date(failedAt).toISOString() },
      'redrive sends letters back that failed more than 7 days ago: an inbox of another group that forgets after 7 days ' +
        "applies them again. Send them to the group alone (to: 'group'), or give inboxes a longer retentionMs",
    )
  }

  async #choose(message: EncodedMessage): Promise<boolean> {
    const { limit, filter, signal } = this.#options
    if (this.#counts.sent >= limit) {
      this.#isBeyondLimit = true
      return false
    }
    const chosen = Promise.resolve(filter(readDeadLetter(message)))
    return signal === undefined ? chosen : unlessAborted(signal, chosen)
  }

  async #pace(): Promise<void> {
    const { clock, perSecond, signal } = this.#options
    const waitMs = this.#nextAt - clock.monotonic()
    if (waitMs > 0) await clock.sleep(waitMs, signal)
    this.#nextAt = Math.max(this.#nextAt, clock.monotonic()) + 1_000 / perSecond
  }
}

/**
 * Returns a key that is equal only for copies of one message. The id alone is not enough, because a sender may use one id for
 * several messages.
 * @param message in the form in which it is sent back: another failure of it makes no other message, unless it is a dead letter
 * there, too
 */
function copyKeyOf(message: EncodedMessage): string {
  const { id, key, body } = message
  const digest = createHash('sha256').update(body ?? '')
  return JSON.stringify([sourceOf(message), id, key, body === null, digest.digest('base64')])
}
