import type { EncodedMessage } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox, type Outbox } from 'concordat/outbox'
import pg from 'pg'

/** A database of its own with an outbox of four partitions and a table of accounts. */
export class Bed implements AsyncDisposable {
  readonly pool: pg.Pool
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly table = 'concordat.outbox'
  readonly #drop: () => Promise<void>

  private constructor(pool: pg.Pool, drop: () => Promise<void>) {
    this.pool = pool
    this.sql = pgClient(pool)
    this.outbox = createOutbox({ sql: this.sql, service: 'bench', partitions: 4 })
    this.#drop = drop
  }

  static async open(address: string): Promise<Bed> {
    const name = `bench_outbox_${process.pid}`
    const admin = new pg.Pool({ connectionString: address, max: 1 })
    await admin.query(`CREATE DATABASE ${name}`)
    const url = new URL(address)
    url.pathname = `/${name}`
    const bed = new Bed(new pg.Pool({ connectionString: url.href, max: 16 }), async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await admin.end()
    })
    await bed.outbox.migrate()
    await bed.pool.query(`CREATE TABLE account AS SELECT id, 0 AS n FROM generate_series(0, 15) id`)
    await bed.pool.query(`CREATE UNIQUE INDEX ON account (id)`)
    return bed
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
    await this.#drop()
  }
}

/** Messages of 200 bytes whose ids rise. */
export function makeMessages(count: number, keys: number): EncodedMessage[] {
  const body = new Uint8Array(200).fill(0x78)
  return Array.from({ length: count }, (_, i) => ({
    id: String(i).padStart(36, '0'),
    destination: 'orders.placed',
    key: `order-${i % keys}`,
    type: 'orders.placed',
    source: 'bench',
    contentType: 'application/octet-stream',
    time: 1_700_000_000_000,
    headers: {},
    body,
  }))
}
