/** The table of an inbox: a row for each message that a group has handled. */
import { createHash } from 'node:crypto'
import type { InboxMessage } from '../binder/bindings/inbox.ts'
import type { SqlPart } from '../core/migrate.ts'
import { throwFromOwnWait } from '../core/own-statements.ts'
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
         body_hash bigint,
         received_at timestamptz NOT NULL DEFAULT now(),
         PRIMARY KEY (consumer, channel, source, message_id)
       ) WITH (autovacuum_vacuum_insert_scale_factor = 0.05)`,
        `CREATE INDEX inbox_received_at ON {schema}.inbox (received_at)`,
      ],
    },
  ],
}

const SWEEP_BATCH = 5_000

/** Treatment of a message whose id is known with another body. */
export interface InboxRules {
  /** True: it is another message, because the body is part of its name. */
  readonly acceptsReusedIds: boolean
  /** Called for each such message that is dropped. */
  readonly reused: (message: InboxMessage) => void
}

export class InboxTable {
  readonly #table: string
  readonly #query: OwnQuery
  readonly #rules: InboxRules

  constructor(schema: string, rules: InboxRules) {
    this.#table = `${quoteIdentifier(schema)}.inbox`
    this.#query = ownQuery(schema, 'inbox.migrate()')
    this.#rules = rules
  }

  /** @returns false when it is already recorded. Waits for an open transaction that has recorded it */
  async enter(tx: SqlTransaction, message: InboxMessage): Promise<boolean> {
    const { rows } = await this.#query(
      tx,
      `INSERT INTO ${this.#table} (consumer, channel, source, message_id, body_hash) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT DO NOTHING RETURNING 1`,
      [message.group, message.destination, message.source, this.#idOf(message), hashOf(message)],
    ).catch(throwFromOwnWait)
    // The rows, not `rowCount`: an adapter with wrong counts would turn every message into a duplicate.
    if (rows.length === 0) await this.#compare(tx, [message])
    return rows.length > 0
  }

  /** @returns for each message the same as `enter` */
  async enterAll(tx: SqlTransaction, messages: readonly InboxMessage[]): Promise<readonly boolean[]> {
    // In the same order everywhere, so that two batches with the same messages cannot deadlock.
    const { rows } = await this.#query<Record<'consumer' | 'channel' | 'source' | 'message_id', string>>(
      tx,
      `INSERT INTO ${this.#table} (consumer, channel, source, message_id, body_hash)
       SELECT m.consumer, m.channel, m.source, m.message_id, m.body_hash
       FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS m(consumer, channel, source, message_id, body_hash)
       ORDER BY 1, 2, 3, 4
       ON CONFLICT DO NOTHING RETURNING consumer, channel, source, message_id`,
      [...this.#columnsOf(messages), messages.map(hashOf)],
    ).catch(throwFromOwnWait)
    const inserted = new Set(rows.map((row) => nameOf(row.consumer, row.channel, row.source, row.message_id)))
    // The driver writes U+FFFD for half a surrogate pair.
    const isNew = messages.map((m) =>
      inserted.has(nameOf(...[m.group, m.destination, m.source, this.#idOf(m)].map((text) => text.toWellFormed()))),
    )
    const known = messages.filter((_, index) => isNew[index] !== true)
    if (known.length > 0) await this.#compare(tx, known)
    return isNew
  }

  /** Reports messages whose id another message has already used. */
  async #compare(tx: SqlTransaction, messages: readonly InboxMessage[]): Promise<void> {
    if (this.#rules.acceptsReusedIds) return
    const { rows } = await this.#query<{ n: number }>(
      tx,
      `SELECT g.n::int AS n FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
         WITH ORDINALITY AS g(consumer, channel, source, message_id, body_hash, n)
       JOIN ${this.#table} USING (consumer, channel, source, message_id) WHERE inbox.body_hash <> g.body_hash`,
      [...this.#columnsOf(messages), messages.map(hashOf)],
    )
    for (const { n } of rows) {
      const message = messages[n - 1]
      if (message !== undefined) this.#rules.reused(message)
    }
  }

  #idOf(message: InboxMessage): string {
    return this.#rules.acceptsReusedIds ? `${message.id} ${hashOf(message)}` : message.id
  }

  #columnsOf(messages: readonly InboxMessage[]): readonly string[][] {
    const column = (pick: (message: InboxMessage) => string): string[] => messages.map(pick)
    return [column((m) => m.group), column((m) => m.destination), column((m) => m.source), column((m) => this.#idOf(m))]
  }

  /** Removes records of this transaction. */
  async forget(tx: SqlTransaction, messages: readonly InboxMessage[]): Promise<void> {
    await this.#query(
      tx,
      `DELETE FROM ${this.#table} WHERE (consumer, channel, source, message_id) IN (
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]))`,
      this.#columnsOf(messages),
    )
  }

  /** Deletes older records, in batches. @returns how many */
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

/** Joins several texts into one. */
export function nameOf(...name: readonly string[]): string {
  return JSON.stringify(name)
}

/** Returns 64 bits of the body's SHA-1 as PostgreSQL's `bigint`; a tombstone has its own hash. */
function hashOf({ delivery }: InboxMessage): string | null {
  const body = delivery?.message.body
  if (body === undefined) return null
  return body === null ? '0' : createHash('sha1').update(body).digest().readBigInt64BE().toString()
}
