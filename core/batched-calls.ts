import { lastingContext } from './async-contexts.ts'

/**
 * Sends collected items, one call at a time: immediately if no call is in progress, otherwise together with the next call.
 * Ignores failures, because receivers also poll.
 */
export class BatchedCalls<Item> {
  readonly #send: (items: readonly Item[]) => Promise<unknown>
  readonly #afterwards: (next: () => void) => void
  /** The caller of `add` may be in a transaction that this call waits for, or under a lock that ends. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  readonly #pending = new Map<string, Item>()
  #isBusy = false
  #closed = false

  /** @param afterwards resolves when the next call may follow the previous one @default at once */
  constructor(
    send: (items: readonly Item[]) => Promise<unknown>,
    afterwards: (next: () => void) => void = (next) => next(),
  ) {
    this.#send = send
    this.#afterwards = afterwards
  }

  /** Sends only the newest item of each `key`, once. */
  add(key: string, item: Item): void {
    if (!this.#closed) this.#pending.set(key, item)
  }

  /** Sends now, or when the call in progress has ended. */
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
    this.#detached(() => this.#send(items)).then(goOn, goOn)
  }
}
