import type { EncodedMessage } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox, type createRelay, type Outbox } from 'concordat/outbox'
import pg from 'pg'
import type { PostgresBed } from '../postgres-bed.ts'

const DATABASE = 'outbox'

/** A database of its own with an outbox of four partitions and a table of accounts. */
export class Bed implements AsyncDisposable {
  readonly postgres: PostgresBed
  readonly pool: pg.Pool
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly table = 'concordat.outbox'

  private constructor(postgres: PostgresBed, pool: pg.Pool) {
    this.postgres = postgres
    this.pool = pool
    this.sql = pgClient(pool)
    this.outbox = createOutbox({ sql: this.sql, service: 'bench', partitions: 4 })
  }

  static async open(postgres: PostgresBed): Promise<Bed> {
    const connectionString = await postgres.database(DATABASE)
    const bed = new Bed(postgres, new pg.Pool({ connectionString, max: 16 }))
    await bed.outbox.migrate()
    await bed.pool.query(`CREATE TABLE account AS SELECT id, 0 AS n FROM generate_series(0, 15) id`)
    await bed.pool.query(`CREATE UNIQUE INDEX ON account (id)`)
    return bed
  }

  counters(): ReturnType<PostgresBed['counters']> {
    return this.postgres.counters(DATABASE)
  }

  async empty(): Promise<void> {
    await this.pool.query(`TRUNCATE ${this.table}`)
  }

  async fill(messages: readonly EncodedMessage[]): Promise<void> {
    await this.empty()
    for (let i = 0; i < messages.length; i += 1_000) {
      await this.sql.transaction((tx) => this.outbox.addEncoded(tx, messages.slice(i, i + 1_000)))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.end()
  }
}

const BODY = new Uint8Array(200).fill(0x78)

/** A message of 200 bytes. Numbers rise within a key. */
export function makeMessage(number: number, key: string): EncodedMessage {
  return {
    id: String(number).padStart(36, '0'),
    destination: 'orders.placed',
    key,
    type: 'orders.placed',
    source: 'bench',
    contentType: 'application/octet-stream',
    time: 1_700_000_000_000,
    headers: {},
    body: BODY,
  }
}

export function makeMessages(count: number, keys: number): EncodedMessage[] {
  return Array.from({ length: count }, (_, i) => makeMessage(i, `order-${i % keys}`))
}

/** Confirms at once, checks that the messages of each key leave in order and never twice, and counts. */
type RelayPublisher = Parameters<typeof createRelay>[0]['publisher']

export class CheckingPublisher implements RelayPublisher {
  readonly #awaited: number
  readonly #done = Promise.withResolvers<void>()
  readonly #last = new Map<string | null, string>()
  published = 0

  constructor(awaited: number) {
    this.#awaited = awaited
    this.#done.promise.catch(() => {})
  }

  /** Resolves when all awaited ones have left. @throws when one left out of order */
  get done(): Promise<void> {
    return this.#done.promise
  }

  async publish(messages: readonly Pick<EncodedMessage, 'id' | 'key'>[]): ReturnType<RelayPublisher['publish']> {
    for (const { id, key } of messages) {
      const last = this.#last.get(key) ?? ''
      if (last >= id) this.#done.reject(new Error(`key ${key}: ${id} left after ${last}`))
      this.#last.set(key, id)
    }
    this.published += messages.length
    if (this.published === this.#awaited) this.#done.resolve()
    return messages.map(() => undefined)
  }
}
