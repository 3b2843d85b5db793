import { type Clock, SECOND } from './clock.ts'

/** Calls that wait for longer than this, while none is answered, wait for a server that hangs. */
const SILENT_MS = 8 * SECOND

/** Knows of a part's calls to its server whether any is answered: a server that hangs fails no call. */
export class Silence {
  readonly #clock: Clock
  #waiting = 0
  /** When the last answer came, or the first call after a time without calls. Monotonic ms. */
  #since = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns the call itself */
  track<T>(call: Promise<T>): Promise<T> {
    if (this.#waiting++ === 0) this.#since = this.#clock.monotonic()
    call.then(this.#answered, this.#answered)
    return call
  }

  /** For health, while the server is silent. */
  get error(): Error | undefined {
    const silentMs = this.#waiting === 0 ? 0 : this.#clock.monotonic() - this.#since
    return silentMs < SILENT_MS ? undefined : new Error(`no answer for ${Math.floor(silentMs / SECOND)} s`)
  }

  readonly #answered = (): void => {
    this.#waiting--
    this.#since = this.#clock.monotonic()
  }
}
