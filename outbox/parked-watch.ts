/**
 * Parked messages in the partitions of a relay, for its health. Only relays park messages, so the table is read after a partition
 * was claimed or a message was parked here, and then until no parked message is left.
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

  /** Describes the messages and the remedy; `undefined` without messages. */
  get detail(): string | undefined {
    if (this.#oldest === undefined) return undefined
    const { id, destination, error, count } = this.#oldest
    const others = count === 1 ? '' : ` and ${counted(count - 1, 'other')}`
    return `message ${id} to ${destination}${others} parked, call outbox.retry or outbox.drop: ${error ?? 'no reason is known'}`
  }

  /** Called after a message was parked. */
  mark(): void {
    this.#isDue = true
  }

  /** @param partitions the partitions that the relay holds */
  async look(partitions: readonly number[]): Promise<void> {
    const held = partitions.join()
    if (!this.#isDue && this.#oldest === undefined && held === this.#partitions) return
    // Set before the query: its result may lack messages parked while it runs.
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
