import { type Clock, SECOND } from '../core/clock.ts'

/** Time between two looks for a later start, */
const EACH_MS = 1 * SECOND

/** and after which reading begins at the first row again, for rows whose transaction took so long that they were passed over. */
const ANEW_MS = 30 * SECOND

/** What a window leaves out. */
export interface Scan {
  /** Destinations whose rows stay. */
  readonly away: readonly string[]
  /** Rows below this `seq` are not read. */
  readonly from: string
}

/** All rows of all destinations. */
export const EVERYTHING: Scan = { away: [], from: '0' }

/**
 * Where a partition is read from. The backlog of an unavailable destination lies before everything else, and would be read through for
 * each window: 0.3 s for 300,000 rows.
 */
export class ScanStart {
  readonly #clock: Clock
  readonly #next: (scan: Scan) => Promise<string>
  #scan = EVERYTHING
  #lookAt = Number.NEGATIVE_INFINITY
  #anewAt = Number.NEGATIVE_INFINITY

  /** @param next finds the first row that is not of an unavailable destination, or is so young that rows before it may be missing */
  constructor(clock: Clock, next: (scan: Scan) => Promise<string>) {
    this.#clock = clock
    this.#next = next
  }

  /** What to read, by what is known. */
  known(away: readonly string[]): Scan {
    const now = new Set(away)
    const isStillTrue = this.#scan.away.every((destination) => now.has(destination))
    return { away, from: isStillTrue ? this.#scan.from : '0' }
  }

  /** Whether it is time to look for a later start. */
  isDue(away: readonly string[]): boolean {
    return away.length > 0 && this.#clock.monotonic() >= this.#lookAt
  }

  /** What to read, after a look for a later start when one is due. */
  async find(away: readonly string[]): Promise<Scan> {
    if (!this.isDue(away)) return this.known(away)
    const now = this.#clock.monotonic()
    this.#lookAt = now + EACH_MS
    if (now >= this.#anewAt) {
      this.#anewAt = now + ANEW_MS
      this.#scan = EVERYTHING
    }
    this.#scan = { away, from: await this.#next(this.known(away)) }
    return this.#scan
  }
}
