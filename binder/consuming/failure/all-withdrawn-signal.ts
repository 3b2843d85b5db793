import type { TransportDelivery } from '../../transport/transport.ts'

/** Combines the signals of several deliveries: aborts when all were withdrawn. Dispose of it after use. */
export class AllWithdrawnSignal {
  readonly #signals: ReadonlySet<AbortSignal>
  readonly #all: AbortController = new AbortController()
  #listening = false
  #left = 0

  constructor(deliveries: readonly TransportDelivery[]) {
    this.#signals = new Set(deliveries.map(({ signal }) => signal))
  }

  /** Aborts when the last delivery is withdrawn. */
  get signal(): AbortSignal {
    const [only] = this.#signals
    if (this.#signals.size === 1 && only !== undefined) return only
    if (!this.#listening) this.#listen()
    return this.#all.signal
  }

  dispose(): void {
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort)
  }

  #listen(): void {
    this.#listening = true
    this.#left = this.#signals.size
    for (const signal of this.#signals) {
      if (signal.aborted) this.#onAbort()
      else signal.addEventListener('abort', this.#onAbort)
    }
  }

  readonly #onAbort = (): void => {
    if (--this.#left === 0) this.#all.abort(new Error('all messages of the batch were withdrawn'))
  }
}
