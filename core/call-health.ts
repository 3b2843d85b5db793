import { lastingContext } from './ambient.ts'
import { type Clock, SECOND } from './clock.ts'
import { toError } from './errors.ts'

/** Answer of a part that calls a server. `idle`: it has called nothing yet. */
export interface CallState {
  readonly status: 'up' | 'down' | 'idle'
  /** Why it is `down`: the message of the last call. */
  readonly detail?: string | undefined
}

/** A part without a call for this long probes its server. */
const IDLE_MS = 4 * SECOND
/** Pause between two probes of a server that failed. */
const RETRY_MS = 1 * SECOND

export interface CallHealthFields {
  readonly clock: Clock
  /** Makes one harmless call of the kind that the part makes, within its own time limit. */
  readonly probe: () => Promise<unknown>
  /** Whether an error of a call says something of the server. Others (a closed part, the caller's own) leave the answer. */
  readonly isFailure: (error: unknown) => boolean
}

/**
 * Health of a part that calls a server: `up` means that the last call succeeded. A part without calls probes the server every
 * few seconds, so a server that stopped is reported within ten seconds, and an error ends with the first call that succeeds.
 *
 * Its timers do not keep the process alive. A part that has called nothing yet is `idle`, and probes nothing.
 */
export class CallHealth {
  readonly #fields: CallHealthFields
  /** A probe runs outside of the caller that made the first call: in no transaction, under no lease. */
  readonly #outside: <T>(work: () => T) => T = lastingContext()
  #state: CallState = { status: 'idle' }
  #settledAt = 0
  #cancel: (() => void) | undefined
  #closed = false

  constructor(fields: CallHealthFields) {
    this.#fields = fields
  }

  /** @returns the call itself; its outcome decides what `state` says from then on */
  track<T>(call: Promise<T>): Promise<T> {
    call.then(this.#succeeded, this.#failed)
    return call
  }

  state(): CallState {
    return this.#state
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  readonly #succeeded = (): void => {
    if (this.#state.status !== 'up') this.#state = { status: 'up' }
    this.#settled()
  }

  readonly #failed = (error: unknown): void => {
    if (!this.#fields.isFailure(error)) return
    const wasUp = this.#state.status !== 'down'
    this.#state = { status: 'down', detail: toError(error).message }
    if (wasUp) this.#disarm()
    this.#settled()
  }

  #settled(): void {
    this.#settledAt = this.#fields.clock.monotonic()
    this.#arm(this.#state.status === 'down' ? RETRY_MS : IDLE_MS)
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
    if (this.#state.status === 'up' && leftMs > 0) this.#arm(leftMs)
    else void this.#outside(() => this.track(this.#fields.probe())).catch(() => this.#arm(RETRY_MS))
  }
}
