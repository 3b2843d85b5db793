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
    while ((await this.#count('n > $1 AND n <= $2', this.#all + STEP)) === STEP) this.#all += STEP
    return this.#all + (await this.#count('n > $1 AND n > $2', this.#all))
  }

  async #count(where: string, to: number): Promise<number> {
    const { rows } = await this.#sql.query<{ n: number }>(
      `SELECT count(DISTINCT n)::int AS n FROM receipt WHERE ${where}`,
      [this.#all, to],
    )
    return rows[0]?.n ?? 0
  }
}
