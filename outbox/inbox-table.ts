/** The table of an inbox: a row for each message that a group has handled. */
import type { InboxMessage } from '../binder/bindings/inbox.ts'
import type { SqlPart } from '../core/migrate.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor, type SqlTransaction } from '../core/sql.ts'

export const INBOX_PART: SqlPart = {
  name: 'inbox',
  call: 'inbox.migrate()',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.inbox (
         consumer text NOT NULL, channel text NOT NULL, source text NOT NULL, message_id text NOT NULL,
         received_at timestamptz NOT NULL DEFAULT now(),
         PRIMARY KEY (consumer, channel, source, message_id)
       ) WITH (autovacuum_vacuum_insert_scale_factor = 0.05)`,
        `CREATE INDEX inbox_received_at ON {schema}.inbox (received_at)`,
      ],
    },
  ],
}

const SWEEP_BATCH = 5_000

export class InboxTable {
  readonly #table: string
  readonly #query: OwnQuery

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.inbox`
    this.#query = ownQuery(schema, 'inbox.migrate()')
  }

  /** @returns false when it is there already. Waits for a transaction that has entered it and is still open */
  async enter(tx: SqlTransaction, message: InboxMessage): Promise<boolean> {
    const { rows } = await this.#query(
      tx,
      `INSERT INTO ${this.#table} (consumer, channel, source, message_id) VALUES ($1, $2, $3, $4)
       ON CONFLICT DO NOTHING RETURNING 1`,
      [message.group, message.destination, message.source, message.id],
    )
    // The rows, not `rowCount`: an adapter that counts wrong would turn every message into a duplicate.
    return rows.length > 0
  }

  /** @returns of each, as `enter` */
  async enterAll(tx: SqlTransaction, messages: readonly InboxMessage[]): Promise<readonly boolean[]> {
    // In one order everywhere: two batches with the same messages wait for one another, never in a circle.
    const { rows } = await this.#query<Record<'consumer' | 'channel' | 'source' | 'message_id', string>>(
      tx,
      `INSERT INTO ${this.#table} (consumer, channel, source, message_id)
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ORDER BY 1, 2, 3, 4
       ON CONFLICT DO NOTHING RETURNING consumer, channel, source, message_id`,
      columnsOf(messages),
    )
    const inserted = new Set(rows.map((row) => nameOf(row.consumer, row.channel, row.source, row.message_id)))
    // The driver writes U+FFFD for half a surrogate pair.
    return messages.map((m) =>
      inserted.has(nameOf(...[m.group, m.destination, m.source, m.id].map((text) => text.toWellFormed()))),
    )
  }

  /** Takes back what was entered in this transaction. */
  async forget(tx: SqlTransaction, messages: readonly InboxMessage[]): Promise<void> {
    await this.#query(
      tx,
      `DELETE FROM ${this.#table} WHERE (consumer, channel, source, message_id) IN (
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]))`,
      columnsOf(messages),
    )
  }

  /** Deletes what is older, in batches. @returns how many */
  async sweep(sql: SqlExecutor, retentionMs: number, signal: AbortSignal | undefined): Promise<number> {
    for (let total = 0; ; ) {
      const { rowCount } = await this.#query(
        sql,
        `DELETE FROM ${this.#table} WHERE ctid = ANY(ARRAY(
           SELECT ctid FROM ${this.#table} WHERE received_at < now() - $1::float8 * interval '1 ms'
           ORDER BY received_at LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED))`,
        [retentionMs],
      )
      total += rowCount
      if (rowCount < SWEEP_BATCH || signal?.aborted === true) return total
    }
  }
}

/** One text for several. */
export function nameOf(...name: readonly string[]): string {
  return JSON.stringify(name)
}

function columnsOf(messages: readonly InboxMessage[]): readonly string[][] {
  const column = (pick: (message: InboxMessage) => string): string[] => messages.map(pick)
  return [column((m) => m.group), column((m) => m.destination), column((m) => m.source), column((m) => m.id)]
}
