import { lastingContext } from './async-contexts.ts'
import { type Clock, SECOND } from './clock.ts'
import { causesOf, hasCode, toError } from './errors.ts'

/** Answer of a part that calls a server. `idle`: it has called nothing yet. */
export interface CallState {
  readonly status: 'up' | 'down' | 'idle'
  /** Why it is `down`: the message of the call that failed. */
  readonly detail?: string | undefined
}

/** A part without a call for this long probes its server. */
const IDLE_MS = 4 * SECOND
/** Pause between two probes of a server that failed. */
const RETRY_MS = 1 * SECOND

/** After this long a call that failed and was not repeated is no longer needed, if a probe has succeeded since. */
const FORGOTTEN_MS = 2 * IDLE_MS

const PROBE = 'probe'

interface Failed {
  readonly detail: string
  /** Monotonic ms of the last failure. */
  readonly at: number
}

export interface CallHealthFields {
  readonly clock: Clock
  /** Makes one harmless call of the kind that the part makes, within its own time limit. */
  readonly probe: () => Promise<unknown>
  /** Whether an error of a call says something of the server. Others (a closed part, the caller's own) leave the answer. */
  readonly isFailure: (error: unknown) => boolean
}

/**
 * Health of a part that calls a server: `up` means that the last call of each kind succeeded or conflicted with others, or was not
 * repeated for 8 s while a probe succeeded. A call or probe that succeeds says nothing about another kind: a server may answer reads
 * and refuse writes, or write one key and not another. A part without calls, or with one that failed, probes the server every few
 * seconds, so a server that stopped or is back is reported within ten seconds.
 *
 * Its timers do not keep the process alive. A part that has called nothing yet is `idle`, and probes nothing.
 */
export class CallHealth {
  readonly #fields: CallHealthFields
  /** A probe runs outside of the caller that made the first call: in no transaction, under no lease. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  #isAnswered = false
  /** The last calls of their kind that failed. */
  readonly #failures = new Map<string, Failed>()
  /** Monotonic ms of the last probe that succeeded. */
  #probedAt = Number.NEGATIVE_INFINITY
  #settledAt = 0
  #cancel: (() => void) | undefined
  #closed = false

  constructor(fields: CallHealthFields) {
    this.#fields = fields
  }

  /** @returns the call itself; its outcome decides what `state` says of its kind from then on */
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

/** Whether the server answered, and took the call back because of others: serialization failure, deadlock. */
function isTakenBack(error: unknown): boolean {
  return hasCode(error, '40001') || hasCode(error, '40P01')
}
