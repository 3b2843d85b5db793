import { lastingContext } from './async-contexts.ts'
import { type Clock, SECOND } from './clock.ts'
import { toError } from './errors.ts'

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

/** The kind of a probe, whose success ends every failure. */
const PROBE = 'probe'

export interface CallHealthFields {
  readonly clock: Clock
  /** Makes one harmless call of the kind that the part makes, within its own time limit. */
  readonly probe: () => Promise<unknown>
  /** Whether an error of a call says something of the server. Others (a closed part, the caller's own) leave the answer. */
  readonly isFailure: (error: unknown) => boolean
}

/**
 * Health of a part that calls a server: `up` means that the last call of each kind succeeded, or a probe since. A call that succeeds
 * says nothing about another kind: a server may answer reads and refuse writes. A part without calls, or with one that failed,
 * probes the server every few seconds, so a server that stopped or is back is reported within ten seconds.
 *
 * Its timers do not keep the process alive. A part that has called nothing yet is `idle`, and probes nothing.
 */
export class CallHealth {
  readonly #fields: CallHealthFields
  /** A probe runs outside of the caller that made the first call: in no transaction, under no lease. */
  readonly #outside: <T>(work: () => T) => T = lastingContext()
  #isAnswered = false
  /** Why the last call of a kind failed. */
  readonly #failures = new Map<string, string>()
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
      (error: unknown) => this.#failed(kind, error),
    )
    return call
  }

  state(): CallState {
    const detail = this.#failures.values().next().value
    if (detail !== undefined) return { status: 'down', detail }
    return { status: this.#isAnswered ? 'up' : 'idle' }
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  #succeeded(kind: string): void {
    this.#isAnswered = true
    if (kind === PROBE) this.#failures.clear()
    else this.#failures.delete(kind)
    this.#settled()
  }

  #failed(kind: string, error: unknown): void {
    if (!this.#fields.isFailure(error)) return
    const wasUp = this.#failures.size === 0
    this.#failures.set(kind, toError(error).message)
    if (wasUp) this.#disarm()
    this.#settled()
  }

  #settled(): void {
    this.#settledAt = this.#fields.clock.monotonic()
    this.#arm(this.#failures.size > 0 ? RETRY_MS : IDLE_MS)
  }

  #disarm(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #arm(delayMs: number): void {
    if (this.#closed || this.#cancel !== undefined) return
    this.#cancel = this.#outside(() => this.#fields.clock.setTimer(delayMs, this.#due))
  }

  readonly #due = (): void => {
    this.#cancel = undefined
    const leftMs = this.#settledAt + IDLE_MS - this.#fields.clock.monotonic()
    if (this.#failures.size === 0 && leftMs > 0) this.#arm(leftMs)
    else void this.#outside(() => this.track(this.#fields.probe(), PROBE)).catch(() => this.#arm(RETRY_MS))
  }
}
