import { BinderError } from '../errors.ts'
import type { ResolvedRedrive } from './redrive.ts'

/** Letters that a run has processed. In a dry run `sent` are the listed ones. */
export interface RunCounts {
  sent: number
  kept: number
  copies: number
}

/** Detects that a run has stalled: no letter has arrived for `stallTimeoutMs`. */
export class RunPatience {
  readonly #options: Pick<ResolvedRedrive, 'clock' | 'stallTimeoutMs'>
  readonly #destination: string
  readonly #counts: RunCounts
  /** Monotonic. */
  #renewedAt = 0

  /** @param destination of the dead letters */
  constructor(options: Pick<ResolvedRedrive, 'clock' | 'stallTimeoutMs'>, destination: string, counts: RunCounts) {
    this.#options = options
    this.#destination = destination
    this.#counts = counts
  }

  /** Restarts the time: a letter arrived, or the run has begun. */
  renew(): void {
    this.#renewedAt = this.#options.clock.monotonic()
  }

  /** Remaining time until the run counts as stalled. */
  get leftMs(): number {
    return this.#renewedAt + this.#options.stallTimeoutMs - this.#options.clock.monotonic()
  }

  stalled(cause?: unknown): BinderError {
    const { sent, kept } = this.#counts
    const fields = { destination: this.#destination, waitedMs: this.#options.stallTimeoutMs, sent, kept }
    return new BinderError('binder.redrive_stalled', fields, cause)
  }
}
