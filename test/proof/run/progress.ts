import type { SqlClient } from 'concordat/core'

/** Completed ranges of orders are counted once, in steps of this size. */
const STEP = 1_000

/** Number of orders with a receipt: exact, and cheap for any number, since only the open end is counted. */
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
