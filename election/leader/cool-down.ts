import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import type { RevokedReason } from './election.ts'

/** How long to let other candidates go first, with the failure if that is the reason. */
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

  /** Sets the minimum pause after the current term. */
  stayOut(ms: number): void {
    this.#stayOutMs = ms
  }

  /** Records the failure of the term. */
  failed(error: Error): void {
    this.#failure = error
  }

  /** Called when a term has ended. @param random from 0 to 1 */
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
