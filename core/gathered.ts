import { lastingContext } from './ambient.ts'

/**
 * Sends what is gathered, one call at a time: at once when none is under way, and what comes meanwhile together with the
 * next. Failures are ignored: whoever is told also looks by itself.
 */
export class Gathered<Item> {
  readonly #send: (items: readonly Item[]) => Promise<unknown>
  readonly #afterwards: (next: () => void) => void
  /** Whoever adds to it may be in a transaction that this waits for, or under a lock that ends. */
  readonly #outside: <T>(work: () => T) => T = lastingContext()
  readonly #pending = new Map<string, Item>()
  #isBusy = false
  #closed = false

  /** @param afterwards when the next call may follow the one that has ended @default at once */
  constructor(
    send: (items: readonly Item[]) => Promise<unknown>,
    afterwards: (next: () => void) => void = (next) => next(),
  ) {
    this.#send = send
    this.#afterwards = afterwards
  }

  /** Of one `key` the newest is sent, once. */
  add(key: string, item: Item): void {
    if (!this.#closed) this.#pending.set(key, item)
  }

  /** Sends now, or when the call under way has ended. */
  flush(): void {
    if (!this.#isBusy) this.#sendPending()
  }

  close(): void {
    this.#closed = true
    this.#pending.clear()
  }

  #sendPending(): void {
    const items = [...this.#pending.values()]
    this.#pending.clear()
    this.#isBusy = items.length > 0
    if (!this.#isBusy) return
    const goOn = (): void => this.#afterwards(() => this.#sendPending())
    this.#outside(() => this.#send(items)).then(goOn, goOn)
  }
}
