import type { ResolvedBus } from './options.ts'

/**
 * Times of the messages of one instance, in epoch ms. No two are equal: they order its events. Times of a clock that was ahead for a
 * moment are given up, since receivers believe none of them: with those that follow they would drop everything until that time has come.
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
