import type { SqlClient } from 'concordat/core'

/** Orders that are all done are counted once, in steps of so many. */
const STEP = 1_000

/** How many orders have a receipt: exact, and cheap however many there are, since only the open end is counted. */
export class Progress {
  readonly #sql: SqlClient
  /** All orders up to this one are done. */
  #all: number

  constructor(sql: SqlClient, all = 0) {
    this.#sql = sql
    this.#all = all
  }

  get allUpTo(): number {
    return this.#all
  }

  async done(): Promise<number> {
    for (;;) {
      const { rows } = await this.#sql.query<{ step: number; rest: number }>(
        `SELECT count(DISTINCT n) FILTER (WHERE n <= $1::bigint + $2::bigint)::int AS step, count(DISTINCT n) FILTER (WHERE n > $1::bigint + $2::bigint)::int AS rest
         FROM receipt WHERE n > $1::bigint`,
        [this.#all, STEP],
      )
      const { step = 0, rest = 0 } = rows[0] ?? {}
      if (step < STEP) return this.#all + step + rest
      this.#all += STEP
    }
  }
}
