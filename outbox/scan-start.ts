import { type Clock, MINUTE, SECOND } from '../core/clock.ts'

/** Time between two passes. */
const EACH_MS = 1 * SECOND

/** After this time, a pass starts at the first row again. */
const ANEW_MS = 10 * MINUTE

/** Identifies a row by number and id: after a failover, a server may give the number to another row. */
export interface RowName {
  readonly seq: string
  readonly id: string
}

/** Rows that a window does not read. */
export interface Scan {
  /** Destinations whose rows stay. */
  readonly away: readonly string[]
  /** The row after which reading starts; absent: at the first row. Reading also starts there if this row no longer exists. */
  readonly after?: RowName | undefined
}

/** Request for a part of a pass. */
export interface PassRequest extends Scan {
  /** Reads nothing while a transaction with a smaller number runs: nothing can be concluded yet. */
  readonly since?: bigint | undefined
}

/** All rows of all destinations. */
export const EVERYTHING: Scan = { away: [] }

/** A part of a pass: `outbox_pass`. */
export interface PassedRows {
  /** The last of the next rows that belong to unavailable destinations; absent if there is none. */
  readonly last: RowName | undefined
  readonly hasMore: boolean
  /** All transactions with smaller numbers had ended. */
  readonly oldestRunning: bigint
  /** All transactions that may still add a row below the last one have smaller numbers. */
  readonly own: bigint
}

interface Candidate {
  readonly away: readonly string[]
  readonly last: RowName
  readonly own: bigint
}

/**
 * The start of reading in a partition. The backlog of an unavailable destination comes before everything else and would be read
 * for each window: 0.3 s for 300,000 rows.
 *
 * A row with a low number may be committed after one with a high number, and must be sent first if one transaction waited for the
 * other. A pass over the backlog therefore only finds a candidate. After all transactions that ran at that time have ended,
 * another pass shows whether they left a row of another destination below it.
 */
export class ScanStart {
  readonly #clock: Clock
  readonly #read: (request: PassRequest) => Promise<PassedRows>
  #scan = EVERYTHING
  #candidate: Candidate | undefined
  #passAt = Number.NEGATIVE_INFINITY
  #anewAt = Number.NEGATIVE_INFINITY

  /** @param read reads on through the rows of unavailable destinations */
  constructor(clock: Clock, read: (request: PassRequest) => Promise<PassedRows>) {
    this.#clock = clock
    this.#read = read
  }

  /** Returns the scan that earlier passes allow. */
  known(away: readonly string[]): Scan {
    return { away, after: isWithin(this.#scan.away, away) ? this.#scan.after : undefined }
  }

  /** Tells whether it is time for a pass. */
  isDue(away: readonly string[]): boolean {
    return away.length > 0 && this.#clock.monotonic() >= this.#passAt
  }

  /**
   * Makes a pass if one is due, then returns the scan. A long pass is followed by a second one at once, because a window would
   * take as long.
   */
  async find(away: readonly string[]): Promise<Scan> {
    if (this.isDue(away) && (await this.#pass(away)) > 1) await this.#pass(away)
    return this.known(away)
  }

  /** @returns the number of its parts */
  async #pass(away: readonly string[]): Promise<number> {
    const now = this.#clock.monotonic()
    this.#passAt = now + EACH_MS
    if (now >= this.#anewAt) {
      this.#anewAt = now + ANEW_MS
      this.#scan = EVERYTHING
      this.#candidate = undefined
    }
    let { after } = this.known(away)
    let part = await this.#read({ away, after, since: this.#candidateOf(away)?.own })
    const { oldestRunning } = part
    let parts = 1
    for (; part.hasMore; parts++) {
      after = part.last ?? after
      part = await this.#read({ away, after })
    }
    this.#conclude(away, part.last ?? after, oldestRunning, part.own)
    return parts
  }

  #conclude(away: readonly string[], last: RowName | undefined, oldestRunning: bigint, own: bigint): void {
    const { after } = this.known(away)
    const candidate = this.#candidateOf(away)
    if (candidate !== undefined && oldestRunning < candidate.own) return
    this.#scan = { away, after: candidate === undefined || last === undefined ? after : earlier(last, candidate.last) }
    this.#candidate = last === undefined || last === this.#scan.after ? undefined : { away, last, own }
  }

  #candidateOf(away: readonly string[]): Candidate | undefined {
    return this.#candidate !== undefined && isWithin(this.#candidate.away, away) ? this.#candidate : undefined
  }
}

function isWithin(some: readonly string[], all: readonly string[]): boolean {
  const set = new Set(all)
  return some.every((each) => set.has(each))
}

function earlier(a: RowName, b: RowName): RowName {
  return BigInt(a.seq) < BigInt(b.seq) ? a : b
}
