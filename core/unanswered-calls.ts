import { type Clock, SECOND } from './clock.ts'

/** A call that waits longer than this waits for a hanging server, or a hanging part of one. */
const SILENT_MS = 8 * SECOND
/** A call abandoned by its caller counts for this much longer: by then the caller has retried, or no longer needs it. */
const GIVEN_UP_MS = 10 * SECOND

const always = (): boolean => true

interface Waiting {
  /** Completes "trying to". */
  readonly what: string
  /** Monotonic ms. */
  readonly since: number
  givenUpAt?: number
}

/**
 * Tracks the calls of a part that wait for responses, because a hanging server fails no call. The oldest call decides, whatever
 * was answered meanwhile: a successful heartbeat says nothing about a read that waits for the lock of its table.
 */
export class UnansweredCalls {
  readonly #clock: Clock
  /** Ordered by start, the oldest first. */
  readonly #waiting: Map<Promise<unknown>, Waiting> = new Map()
  #givenUp = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * @param what completes "trying to"; calls with the same text are of one kind
   * @param isAnswer false for a result that the call itself created because the server did not respond in time: it was abandoned.
   * @default true
   * @returns the call itself
   */
  track<T>(call: Promise<T>, what: string, isAnswer: (result: T) => boolean = always): Promise<T> {
    const waiting = { what, since: this.#clock.monotonic() }
    this.#waiting.set(call, waiting)
    call.then(
      (result) => {
        if (!isAnswer(result)) return this.giveUp(call)
        this.#forget(call)
        this.#succeeded(waiting)
      },
      () => this.#forget(call),
    )
    return call
  }

  /**
   * The caller stops waiting. Its connection may be dead and never respond, so the call counts only until a later call of its
   * kind succeeds, or for ten more seconds.
   */
  giveUp(call: Promise<unknown>): void {
    const waiting = this.#waiting.get(call)
    if (waiting === undefined || waiting.givenUpAt !== undefined) return
    waiting.givenUpAt = this.#clock.monotonic()
    this.#givenUp++
  }

  /** For health, while a call has waited too long. */
  get error(): Error | undefined {
    const now = this.#clock.monotonic()
    for (const [call, { givenUpAt }] of this.#givenUp === 0 ? [] : this.#waiting) {
      if (givenUpAt !== undefined && now - givenUpAt >= GIVEN_UP_MS) this.#forget(call)
    }
    const oldest = this.#waiting.values().next().value
    if (oldest === undefined || now - oldest.since < SILENT_MS) return undefined
    return new Error(`no answer for ${Math.floor((now - oldest.since) / SECOND)} s while trying to ${oldest.what}`)
  }

  #forget(call: Promise<unknown>): void {
    if (this.#waiting.get(call)?.givenUpAt !== undefined) this.#givenUp--
    this.#waiting.delete(call)
  }

  /** Older abandoned calls of this kind no longer count. */
  #succeeded({ what, since }: Waiting): void {
    for (const [call, older] of this.#givenUp === 0 ? [] : this.#waiting) {
      if (older.since > since) return
      if (older.what === what && older.givenUpAt !== undefined) this.#forget(call)
    }
  }
}
