import { Queue } from '../../core/queue.ts'
import type { EncodedMessage } from '../channel/message.ts'

const MAX_BYTES = 64 * 1024 * 1024

/** Numbers of unconfirmed messages and bytes. */
interface Counts {
  count: number
  bytes: number
}

/** A message that is counted in a window, or waits for capacity there. */
export interface Windowed {
  readonly message: EncodedMessage
  /** The window that counts it; `undefined` before and after. */
  countedIn: Counts | undefined
}

class SendWindow<Entry> implements Counts {
  count = 0
  bytes = 0
  /** Messages that wait for capacity, in order. */
  readonly blocked: Queue<Entry> = new Queue()
}

/**
 * Limits unconfirmed messages: to a number and about 64 MiB, and to the same again for all destinations that do not answer or do
 * not exist yet, so that the others have capacity. A message beyond that waits, in the order of its destination.
 */
export class SendWindows<Entry extends Windowed> {
  readonly #maxInFlight: number
  readonly #isSlow: (destination: string) => boolean
  readonly #usual = new SendWindow<Entry>()
  readonly #slow = new SendWindow<Entry>()

  /** @param isSlow tells whether messages to a destination cannot be sent now */
  constructor(maxInFlight: number, isSlow: (destination: string) => boolean) {
    this.#maxInFlight = maxInFlight
    this.#isSlow = isSlow
  }

  get isEmpty(): boolean {
    return this.#usual.count === 0 && this.#slow.count === 0
  }

  /** Counts the message. False: it waits until `next` returns it. */
  enter(entry: Entry): boolean {
    const window = this.#windowOf(entry)
    if (window.blocked.length > 0 || !this.#hasRoom(window)) {
      window.blocked.push(entry)
      return false
    }
    this.#add(entry, window)
    return true
  }

  /** Counts the message, regardless of the limit. */
  force(entry: Entry): void {
    this.#add(entry, this.#windowOf(entry))
  }

  /** Removes a message with an outcome from the count. */
  leave(entry: Entry): void {
    const { countedIn } = entry
    if (countedIn === undefined) return
    countedIn.count--
    countedIn.bytes -= sizeOf(entry)
    entry.countedIn = undefined
  }

  /** Returns the next waiting message for which there is capacity now, and counts it. */
  next(): Entry | undefined {
    return this.#nextOf(this.#usual) ?? this.#nextOf(this.#slow)
  }

  /** Moves the message to the window where it belongs now. */
  moved(entry: Entry): void {
    const window = this.#windowOf(entry)
    if (entry.countedIn === window) return
    this.leave(entry)
    this.#add(entry, window)
  }

  /**
   * Called when the result of `isSlow` has changed for some destinations: moves waiting messages to the window where they belong
   * now.
   */
  sort(): void {
    if (this.#usual.blocked.length + this.#slow.blocked.length === 0) return
    // All messages that wait for one destination are in one of the two, in order.
    const all = [...this.#usual.blocked.drain(), ...this.#slow.blocked.drain()]
    for (const entry of all) this.#windowOf(entry).blocked.push(entry)
  }

  #windowOf({ message }: Entry): SendWindow<Entry> {
    return this.#isSlow(message.destination) ? this.#slow : this.#usual
  }

  #nextOf(window: SendWindow<Entry>): Entry | undefined {
    if (window.blocked.length === 0 || !this.#hasRoom(window)) return undefined
    const entry = window.blocked.shift()
    if (entry !== undefined) this.#add(entry, window)
    return entry
  }

  #hasRoom({ count, bytes }: SendWindow<Entry>): boolean {
    return count < this.#maxInFlight && bytes < MAX_BYTES
  }

  #add(entry: Entry, window: SendWindow<Entry>): void {
    window.count++
    window.bytes += sizeOf(entry)
    entry.countedIn = window
  }
}

const sizeOf = ({ message }: Windowed): number => message.body?.byteLength ?? 0
