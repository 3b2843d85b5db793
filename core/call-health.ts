import { lastingContext } from './async-contexts.ts'
import { type Clock, SECOND } from './clock.ts'
import { causesOf, hasCode, toError } from './errors.ts'

/** State of a part that calls a server. `idle`: no call was made yet. */
export interface CallState {
  readonly status: 'up' | 'down' | 'idle'
  /** Reason for `down`: the message of the failed call. */
  readonly detail?: string | undefined
}

/** A part without a call for this long probes its server. */
const IDLE_MS = 4 * SECOND
/** Pause between two probes of a server that failed. */
const RETRY_MS = 1 * SECOND

/** After this time, a failed call that was not repeated no longer counts, if a probe has succeeded since. */
const FORGOTTEN_MS = 2 * IDLE_MS

const PROBE = 'probe'

interface Failed {
  readonly detail: string
  /** Monotonic ms of the last failure. */
  readonly at: number
}

export interface CallHealthFields {
  readonly clock: Clock
  /** Makes one harmless call like those of the part, within its own time limit. */
  readonly probe: () => Promise<unknown>
  /**
   * Tells whether a call's error says something about the server. Others (a closed part, an error of the caller) do not change
   * the state.
   */
  readonly isFailure: (error: unknown) => boolean
}

/**
 * Health of a part that calls a server. `up` means that the last call of each kind succeeded or conflicted with others, or was
 * not repeated for 8 s while a probe succeeded. A successful call or probe says nothing about other kinds: a server may allow
 * reads and refuse writes, or write one key and not another. A part without calls, or with a failed one, probes the server every
 * few seconds, so that a server's failure or recovery is reported within ten seconds.
 *
 * Its timers do not keep the process alive. A part that made no call yet is `idle` and probes nothing.
 */
export class CallHealth {
  readonly #fields: CallHealthFields
  /** A probe runs outside of the caller that made the first call: in no transaction, under no lease. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  #isAnswered = false
  /** The last failed call of each kind. */
  readonly #failures = new Map<string, Failed>()
  /** Monotonic ms of the last successful probe. */
  #probedAt = Number.NEGATIVE_INFINITY
  #settledAt = 0
  #cancel: (() => void) | undefined
  #closed = false

  constructor(fields: CallHealthFields) {
    this.#fields = fields
  }

  /** @returns the call itself; its outcome determines the state of its kind */
  track<T>(call: Promise<T>, kind: string): Promise<T> {
    call.then(
      () => this.#succeeded(kind),
      (error: unknown) => this.#fail(kind, error),
    )
    return call
  }

  state(): CallState {
    const failed = this.#failed
    if (failed !== undefined) return { status: 'down', detail: failed.detail }
    return { status: this.#isAnswered ? 'up' : 'idle' }
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  /** The first failure that still counts. */
  get #failed(): Failed | undefined {
    const since = Math.min(this.#fields.clock.monotonic() - FORGOTTEN_MS, this.#probedAt)
    for (const [kind, failed] of this.#failures) {
      if (failed.at > since) return failed
      this.#failures.delete(kind)
    }
    return undefined
  }

  #succeeded(kind: string): void {
    this.#isAnswered = true
    this.#failures.delete(kind)
    if (kind === PROBE) this.#probedAt = this.#fields.clock.monotonic()
    this.#settled()
  }

  #fail(kind: string, error: unknown): void {
    if (causesOf(error).some(isTakenBack)) return this.#succeeded(kind)
    if (!this.#fields.isFailure(error)) return
    const wasUp = this.#failed === undefined
    this.#failures.set(kind, { detail: toError(error).message, at: this.#fields.clock.monotonic() })
    if (wasUp) this.#disarm()
    this.#settled()
  }

  #settled(): void {
    this.#settledAt = this.#fields.clock.monotonic()
    this.#arm(this.#failed === undefined ? IDLE_MS : RETRY_MS)
  }

  #disarm(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #arm(delayMs: number): void {
    if (this.#closed || this.#cancel !== undefined) return
    this.#cancel = this.#detached(() => this.#fields.clock.setTimer(delayMs, this.#due))
  }

  readonly #due = (): void => {
    this.#cancel = undefined
    const leftMs = this.#settledAt + IDLE_MS - this.#fields.clock.monotonic()
    if (this.#failed === undefined && leftMs > 0) this.#arm(leftMs)
    else void this.#detached(() => this.track(this.#fields.probe(), PROBE)).catch(() => this.#arm(RETRY_MS))
  }
}

/** True if the server responded but rolled the call back because of others: serialization failure, deadlock. */
function isTakenBack(error: unknown): boolean {
  return hasCode(error, '40001') || hasCode(error, '40P01')
}
