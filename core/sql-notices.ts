/**
 * Sends `NOTIFY` outside of transactions: after the commit that it announces, in a statement of its own, which writes nothing and so
 * does not wait for the disk under the lock that all notifying transactions of a server share. One statement is under way at a time;
 * later notices share the next one. Ignores failures: receivers also poll.
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

  /** Sends at once if nothing is under way. One and the same that waits already is not sent twice. */
  send(channel: string, payload: string): void {
    // No text of PostgreSQL has a NUL.
    this.#gathered.add(`${channel}\0${payload}`, { channel, payload })
    this.#gathered.flush()
  }

  close(): void {
    this.#gathered.close()
  }
}
