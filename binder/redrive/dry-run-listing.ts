import { isLetterOfOther } from '../channel/id-namespace.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { type DeadLetter, readDeadLetter } from './letter.ts'
import type { ResolvedRedrive } from './redrive.ts'

type ListingOptions = Pick<
  ResolvedRedrive,
  'after' | 'channel' | 'filter' | 'group' | 'limit' | 'lookAt' | 'lookAtBytes' | 'payloads'
>

interface Seen {
  readonly letter: DeadLetter
  readonly isOfOther: boolean
}

/** Messages that a dry run has read, in order, after the last one of the previous list. */
export class DryRunListing {
  readonly letters: DeadLetter[] = []
  readonly #options: ListingOptions
  readonly #counts: { sent: number; kept: number }
  /** Size of the payloads read so far. */
  #bytes = 0
  /** Number of skipped messages for `after`. */
  #skipped = 0
  /** Messages that may have to be skipped, until that is known. */
  readonly #before: Seen[] = []
  #isBehind: boolean
  #isBeyondLimit = false

  /** @param counts of the run: listed messages count as sent */
  constructor(options: ListingOptions, counts: { sent: number; kept: number }) {
    this.#options = options
    this.#counts = counts
    this.#isBehind = options.after === undefined
  }

  /** Number of skipped messages, at most that in `after`. */
  get skipped(): number {
    return this.#skipped
  }

  /** True if there were more than it may list. */
  get isBeyondLimit(): boolean {
    return this.#isBeyondLimit
  }

  /** True when it must read no more. */
  get isFull(): boolean {
    const { limit, lookAt, lookAtBytes } = this.#options
    const { sent, kept } = this.#counts
    return sent >= limit || this.#skipped + sent + kept >= lookAt || this.#bytes >= lookAtBytes
  }

  async add(message: EncodedMessage): Promise<void> {
    const { channel, group } = this.#options
    const letter = readDeadLetter(message)
    const seen = { letter, isOfOther: isLetterOfOther(message, { channel: channel.name, group }) }
    this.#bytes += letter.bytes
    if (this.#isBehind) return this.#list(seen)
    this.#before.push(seen)
    this.#skipped = this.#before.length
    if (this.#skipped >= (this.#options.after?.skip ?? 0)) await this.#goBehind()
  }

  /** Called when there are no more messages. */
  async end(): Promise<void> {
    if (!this.#isBehind) await this.#goBehind()
  }

  /** Starts again. */
  forget(): void {
    this.letters.length = 0
    this.#bytes = 0
    this.#skipped = 0
    this.#before.length = 0
    this.#isBehind = this.#options.after === undefined
    this.#isBeyondLimit = false
  }

  /** Calls the filter also with letters of other groups, because a page counts every letter that it reads. */
  async #list({ letter, isOfOther }: Seen): Promise<void> {
    if (!(await this.#options.filter(letter)) || isOfOther) {
      this.#counts.kept++
      return
    }
    this.letters.push(this.#options.payloads ? letter : { ...letter, body: null })
    this.#counts.sent++
  }

  /**
   * The previous list ended with the last message with that id among the read ones: an id may occur twice, and earlier messages
   * may be gone. If the message itself is gone its position is unknown: then all are listed.
   */
  async #goBehind(): Promise<void> {
    const before = this.#before.splice(0)
    this.#skipped = before.findLastIndex(({ letter }) => letter.id === this.#options.after?.id) + 1
    this.#isBehind = true
    for (const seen of before.slice(this.#skipped)) {
      if (this.isFull) {
        this.#isBeyondLimit = true
        return
      }
      await this.#list(seen)
    }
  }
}
