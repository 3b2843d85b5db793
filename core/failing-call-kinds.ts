import { type Clock, SECOND } from './clock.ts'

/** A kind of call that was not repeated for this long is not needed at this time. */
const FORGOTTEN_MS = 10 * SECOND

interface Failed {
  readonly error: Error
  /** Monotonic ms of the last failure. */
  readonly at: number
}

/**
 * Remembers which kinds of calls a server refuses. Only a call of the same kind ends a failure: a server that lets the role read
 * one table may refuse it the next.
 */
export class FailingCallKinds {
  readonly #clock: Clock
  readonly #failed = new Map<string, Failed>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  failed(kind: string, error: Error): void {
    this.#failed.set(kind, { error, at: this.#clock.monotonic() })
  }

  succeeded(kind: string): void {
    this.#failed.delete(kind)
  }

  /** For health: why a kind of call fails. */
  get error(): Error | undefined {
    const since = this.#clock.monotonic() - FORGOTTEN_MS
    for (const [kind, { at, error }] of this.#failed) {
      if (at > since) return error
      this.#failed.delete(kind)
    }
    return undefined
  }
}
