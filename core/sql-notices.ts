/**
 * Sends `NOTIFY` outside of transactions: after the commit that it announces, in its own statement, which writes nothing and
 * therefore does not wait for the disk under the lock that all notifying transactions of a server share. One statement runs at a
 * time; later notifications share the next one. Ignores failures: receivers also poll.
 */
import { BatchedCalls } from './batched-calls.ts'
import type { SqlClient } from './sql.ts'

interface Notice {
  readonly channel: string
  readonly payload: string
}

export class SqlNotices {
  readonly #gathered: BatchedCalls<Notice>

  constructor(sql: SqlClient) {
    this.#gathered = new BatchedCalls((notices) =>
      sql.query('SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS notice(channel, payload)', [
        notices.map(({ channel }) => channel),
        notices.map(({ payload }) => payload),
      ]),
    )
  }

  /** Sends at once if no statement is running. An identical notification that already waits is not sent twice. */
  send(channel: string, payload: string): void {
    // PostgreSQL texts contain no NUL.
    this.#gathered.add(`${channel}\0${payload}`, { channel, payload })
    this.#gathered.flush()
  }

  close(): void {
    this.#gathered.close()
  }
}
