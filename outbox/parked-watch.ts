/**
 * Parked messages in the partitions of a relay, for its health. Only relays park messages, so the table is asked when a partition was
 * taken or a message was parked here, and then until none is left.
 */
import { counted } from '../core/counted-noun.ts'
import type { SqlClient } from '../core/sql.ts'
import type { OutboxTables } from './tables.ts'

interface OldestRow {
  readonly id: string
  readonly destination: string
  readonly error: string | null
  readonly count: number
}

export class ParkedWatch {
  readonly #sql: SqlClient
  readonly #tables: OutboxTables
  #oldest: OldestRow | undefined
  #partitions = ''
  #isDue = true

  constructor(sql: SqlClient, tables: OutboxTables) {
    this.#sql = sql
    this.#tables = tables
  }

  /** The messages and the remedy, in words; `undefined` without one. */
  get detail(): string | undefined {
    if (this.#oldest === undefined) return undefined
    const { id, destination, error, count } = this.#oldest
    const others = count === 1 ? '' : ` and ${counted(count - 1, 'other')}`
    return `message ${id} to ${destination}${others} parked, call outbox.retry or outbox.drop: ${error ?? 'no reason is known'}`
  }

  /** A message was parked. */
  mark(): void {
    this.#isDue = true
  }

  /** @param partitions those that the relay holds */
  async look(partitions: readonly number[]): Promise<void> {
    const held = partitions.join()
    if (!this.#isDue && this.#oldest === undefined && held === this.#partitions) return
    // Before the query: its answer may lack messages parked while it runs.
    this.#isDue = false
    try {
      this.#oldest = await this.#ask(partitions)
      this.#partitions = held
    } catch (error) {
      this.#isDue = true
      throw error
    }
  }

  async #ask(partitions: readonly number[]): Promise<OldestRow | undefined> {
    const { rows } = await this.#sql.query<OldestRow>(
      `SELECT id, aggregatetype AS destination, last_error AS error, count(*) OVER ()::int AS count FROM ${this.#tables.outbox}
       WHERE partition = ANY($1::int[]) AND next_attempt_at = 'infinity' ORDER BY parked_at LIMIT 1`,
      [partitions],
    )
    return rows[0]
  }
}
