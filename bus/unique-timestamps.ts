import type { ResolvedBus } from './options.ts'

/**
 * Times of one instance's messages, in epoch ms. No two are equal, because they order its events. Times of a clock that was ahead
 * for a moment are abandoned, because receivers would reject these and all following messages until that time.
 */
export class UniqueTimestamps {
  readonly #options: Pick<ResolvedBus, 'clock' | 'maxSkewMs' | 'secrets'>
  #latest = 0

  constructor(options: Pick<ResolvedBus, 'clock' | 'maxSkewMs' | 'secrets'>) {
    this.#options = options
  }

  next(): number {
    const { clock, maxSkewMs, secrets } = this.#options
    const now = clock.now()
    const isBelieved = secrets.length === 0 || this.#latest - now <= maxSkewMs
    this.#latest = isBelieved ? Math.max(this.#latest + 1, now) : now
    return this.#latest
  }
}
