import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import type { RevokedReason } from './election.ts'

/** How long to let others go first, and why if a failure is the reason. */
export interface Pause {
  readonly ms: number
  readonly error: string | undefined
}

/** Pause of an instance after a term: longer after each consecutive failure, and as long as `resign` requires. */
export class CoolDown {
  readonly #backoff: Backoff
  #failedInARow = 0
  #failure: Error | undefined
  #stayOutMs = 0

  constructor(backoff: Backoff) {
    this.#backoff = backoff
  }

  /** After the term that is led: at least this long. */
  stayOut(ms: number): void {
    this.#stayOutMs = ms
  }

  /** Why the term fails, if it does. */
  failed(error: Error): void {
    this.#failure = error
  }

  /** A term has ended. @param random from 0 to 1 */
  after(reason: RevokedReason, random: number): Pause {
    const stayOutMs = this.#stayOutMs
    this.#stayOutMs = 0
    this.#failedInARow = reason === 'failed' ? this.#failedInARow + 1 : 0
    if (reason !== 'failed') return { ms: stayOutMs, error: undefined }
    const ms = Math.max(backoffDelayMs(this.#backoff, this.#failedInARow, random), stayOutMs)
    const terms = this.#failedInARow === 1 ? 'the last term' : `the last ${this.#failedInARow} terms`
    return { ms, error: `${terms} failed (${this.#failure?.message}): out of the line for ${ms} ms` }
  }
}
