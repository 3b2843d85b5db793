/**
 * Inbox: a handler's effect, the memory of having handled the message, and the messages it sends commit together.
 *
 * The message's name (group, channel, source, id) is inserted first in the handler's transaction. A second delivery of the same message, also one that runs at
 * the same time in another process, waits there until the first one ends: then it is a duplicate if that committed, and
 * the first if it rolled back.
 *
 * Transactions are READ COMMITTED. Under REPEATABLE READ or SERIALIZABLE the insert fails with 40001 when the other
 * delivery committed meanwhile, instead of finding a duplicate: do not raise the isolation level inside a handler.
 *
 * An id is forgotten after `retentionMs`. Keep that longer than a message can take to come back: the broker's retention
 * where a group can be reset to an earlier place, and how long dead letters wait for a redrive.
 */
import type { Inbox, InboxMessage } from '../binder/bindings/inbox.ts'
import type { EncodedMessage } from '../binder/channel/message.ts'
import { type Clock, DAY, HOUR, SECOND, systemClock } from '../core/clock.ts'
import { requireInteger } from '../core/errors.ts'
import { checkLogger, type Logger } from '../core/logger.ts'
import { migrate, requireMigrated, type SqlPart } from '../core/migrate.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/options.ts'
import {
  DEFAULT_SCHEMA,
  MAX_AGE_MS,
  type OwnQuery,
  ownQuery,
  quoteIdentifier,
  requireSqlClient,
  type SqlClient,
  type SqlTransaction,
} from '../core/sql.ts'
import { finishesWithin } from '../core/time-limit.ts'
import { InboxWithoutOutbox } from './errors.ts'
import type { Outbox } from './outbox.ts'

/** What an inbox needs of the outbox. */
export type InboxOutbox = Pick<Outbox, 'addEncoded'> & Partial<Pick<Outbox, 'ready'>>

export interface InboxOptions {
  /** The database of the handlers' effects. */
  readonly sql: SqlClient
  /** @default 'concordat' */
  readonly schema?: string | undefined
  /** Takes what handlers send, in the same transaction. Needed for processors. */
  readonly outbox?: InboxOutbox | undefined
  /** How long a processed id is remembered, in ms; at least 1 minute. @default 7 days */
  readonly retentionMs?: number | undefined
  /** Pause between sweeps of forgotten ids after `start`, in ms. @default 1 hour */
  readonly sweepEveryMs?: number | undefined
  /** @default silentLogger */
  readonly logger?: Logger | undefined
  /** @default systemClock */
  readonly clock?: Clock | undefined
}

/** What `createInbox` gives: the `Inbox` that bindings take, with its upkeep. */
export interface SqlInbox extends Inbox {
  /** Makes or upgrades the table. Idempotent, safe in several processes at once. */
  migrate(): Promise<void>
  /** Deletes ids older than the retention, in batches that lock nothing for long. @returns how many */
  sweep(signal?: AbortSignal): Promise<number>
  /** Sweeps now and then, until closed. Failures are logged. */
  start(): void
  /** Idempotent, never rejects; does not wait for a database that does not answer. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const SWEEP_BATCH = 5_000
/** How long `close` waits for the batch that is being deleted. */
const CLOSE_MS = 5 * SECOND

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

const NAMES = optionNames<InboxOptions>({
  sql: true,
  schema: true,
  outbox: true,
  retentionMs: true,
  sweepEveryMs: true,
  logger: true,
  clock: true,
})

/** @throws TypeError / RangeError naming the option */
export function createInbox(options: InboxOptions): SqlInbox {
  return new TableInbox(options)
}

class TableInbox implements SqlInbox {
  readonly hasOutbox: boolean
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #table: string
  readonly #query: OwnQuery
  readonly #outbox: InboxOutbox | undefined
  readonly #retentionMs: number
  readonly #sweepEveryMs: number
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #stopping = new AbortController()
  #sweeping: Promise<void> | undefined

  constructor(options: InboxOptions) {
    refuseUnknown('createInbox', options, NAMES)
    this.#sql = requireSqlClient('createInbox.sql', options.sql)
    if (options.outbox !== undefined && !hasMethods(options.outbox, ['addEncoded'])) {
      throw wrongKind('createInbox.outbox', options.outbox, 'what createOutbox returned')
    }
    this.#schema = options.schema ?? DEFAULT_SCHEMA
    this.#table = `${quoteIdentifier(this.#schema)}.inbox`
    this.#query = ownQuery(this.#schema, 'inbox.migrate()')
    this.#outbox = options.outbox
    this.hasOutbox = options.outbox !== undefined
    this.#retentionMs = requireInteger('createInbox.retentionMs', options.retentionMs ?? 7 * DAY, 60_000, MAX_AGE_MS)
    this.#sweepEveryMs = requireInteger('createInbox.sweepEveryMs', options.sweepEveryMs ?? 1 * HOUR, 1)
    this.#logger = checkLogger('createInbox.logger', options.logger)
    this.#clock = options.clock ?? systemClock
  }

  migrate(): Promise<void> {
    return migrate(this.#sql, this.#schema, INBOX_PART.name, INBOX_PART.migrations)
  }

  async ready(): Promise<void> {
    await requireMigrated(this.#sql, this.#schema, INBOX_PART)
    await this.#outbox?.ready?.()
  }

  process(
    message: InboxMessage,
    work: (tx: SqlTransaction, emit: (outputs: readonly EncodedMessage[]) => Promise<void>) => Promise<void>,
  ): Promise<'processed' | 'duplicate'> {
    return this.#sql.transaction(async (tx) => {
      const { rows } = await this.#query(
        tx,
        `INSERT INTO ${this.#table} (consumer, channel, source, message_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING RETURNING 1`,
        [message.group, message.destination, message.source, message.id],
      )
      // The rows, not `rowCount`: an adapter that counts wrong would turn every message into a duplicate.
      if (rows.length === 0) return 'duplicate'
      await work(tx, (outputs) => this.#emit(tx, message.group, outputs))
      return 'processed'
    })
  }

  processBatch(
    messages: readonly InboxMessage[],
    work: (
      tx: SqlTransaction,
      fresh: readonly number[],
      emit: (outputs: readonly EncodedMessage[]) => Promise<void>,
    ) => Promise<void>,
  ): Promise<void> {
    const group = messages[0]?.group ?? ''
    const column = (pick: (message: InboxMessage) => string): string[] => messages.map(pick)
    const nameOf = (...name: readonly string[]): string => JSON.stringify(name)
    return this.#sql.transaction(async (tx) => {
      // In one order everywhere: two batches with the same messages wait for one another, never in a circle.
      const { rows } = await this.#query<Record<'consumer' | 'channel' | 'source' | 'message_id', string>>(
        tx,
        `INSERT INTO ${this.#table} (consumer, channel, source, message_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ORDER BY 1, 2, 3, 4
         ON CONFLICT DO NOTHING RETURNING consumer, channel, source, message_id`,
        [column((m) => m.group), column((m) => m.destination), column((m) => m.source), column((m) => m.id)],
      )
      const inserted = new Set(rows.map((row) => nameOf(row.consumer, row.channel, row.source, row.message_id)))
      const fresh = [...messages.entries()].filter(([, m]) =>
        inserted.has(nameOf(m.group, m.destination, m.source, m.id)),
      )
      await work(
        tx,
        fresh.map(([index]) => index),
        (outputs) => this.#emit(tx, group, outputs),
      )
    })
  }

  async sweep(signal?: AbortSignal): Promise<number> {
    for (let total = 0; ; ) {
      const { rowCount } = await this.#query(
        this.#sql,
        `DELETE FROM ${this.#table} WHERE ctid = ANY(ARRAY(
           SELECT ctid FROM ${this.#table} WHERE received_at < now() - $1::float8 * interval '1 ms'
           ORDER BY received_at LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED))`,
        [this.#retentionMs],
      )
      total += rowCount
      if (rowCount < SWEEP_BATCH || signal?.aborted === true) return total
    }
  }

  start(): void {
    if (!this.#stopping.signal.aborted) this.#sweeping ??= this.#sweepForEver(this.#stopping.signal)
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    if (this.#sweeping !== undefined) await finishesWithin(this.#clock, CLOSE_MS, this.#sweeping)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #emit(tx: SqlTransaction, group: string, outputs: readonly EncodedMessage[]): Promise<void> {
    if (this.#outbox === undefined) throw new InboxWithoutOutbox(group)
    await this.#outbox.addEncoded(tx, outputs)
  }

  async #sweepForEver(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const swept = await this.sweep(signal)
        if (swept > 0) this.#logger.debug({ swept }, 'inbox swept')
      } catch (error) {
        this.#logger.warn({ err: error }, 'inbox sweep failed, the next one is in sweepEveryMs')
      }
      await this.#clock.sleep(this.#sweepEveryMs, signal).catch(() => undefined)
    }
  }
}
