/** An XA participant on one database that prepares, with its barrier on PostgreSQL, and the commands of one saga at a time. */
import type { Headers, SinkBinding } from 'concordat/binder'
import { DAY, type SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, purgeParticipant } from 'concordat/saga'
import type { Operation, XaHandler } from '../../support/inside/saga.ts'
import { commandHeaders, deliver, takeReplies } from './delivery.ts'
import type { MortalClient } from './mortal.ts'
import { FAST, type StockCommand } from './world.ts'

export const REQUEST: StockCommand = { sku: 'apple', n: 1 }

export type Handler<Tx> = XaHandler<StockCommand, unknown, Tx>

/** How the process of a participant differs from a healthy one. */
export interface How {
  /** Dies at a step. */
  readonly mortal?: MortalClient
  readonly beforePrepare?: () => Promise<void>
  readonly afterPrepare?: () => Promise<void>
  readonly lockTimeoutMs?: number
  /** @default 3 */
  readonly maxAttempts?: number
}

/** Options of every participant here. */
export interface Shared {
  readonly group: string
  readonly outbox: ReturnType<typeof createOutbox>
  readonly schema: string
  readonly backoff: typeof FAST
  readonly maxAttempts: number
  readonly lockTimeoutMs?: number
}

/** A database that prepares. Its table `effects` has the columns `id` and `what`. */
export interface PreparingDatabase<Tx> {
  bind(handler: Handler<Tx>, how: How, shared: Shared): SinkBinding
  insert(tx: Tx, id: string, what: string): Promise<unknown>
  /** Appends to `what` of the row `hot`. */
  append(tx: Tx, text: string): Promise<unknown>
  /** Does work that the database cannot prepare. */
  doUnpreparable(tx: Tx): Promise<unknown>
  /** Returns `what` of the effects of a saga. */
  effects(id: string): Promise<readonly string[]>
  insertHot(): Promise<unknown>
  /** Returns the names of the prepared transactions that contain this text. */
  prepared(text: string): Promise<readonly string[]>
  endByHand(verb: 'COMMIT' | 'ROLLBACK', text: string): Promise<void>
  /** Purges its memory, as if this saga step had begun long ago. */
  purge(key: string): Promise<unknown>
  /** Code of the error of a statement that waited for a row longer than its limit. */
  readonly lockTimeoutCode: string
}

export class XaWorld<Tx> {
  readonly sql: SqlClient
  readonly schema: string
  readonly database: PreparingDatabase<Tx>
  /** The saga of the commands. */
  id = ''
  #ids = 0

  constructor(sql: SqlClient, schema: string, database: PreparingDatabase<Tx>) {
    this.sql = sql
    this.schema = schema
    this.database = database
  }

  async migrate(): Promise<void> {
    await this.outbox().migrate()
    await migrateParticipant(this.sql, this.schema)
  }

  outbox(): ReturnType<typeof createOutbox> {
    return createOutbox({ sql: this.sql, service: 'stock', schema: this.schema })
  }

  /** Continues with another saga. */
  next(name = 's'): void {
    this.id = `${name}${++this.#ids}`
  }

  readonly write: Handler<Tx> = async ({ n }, { tx, sagaId }) => {
    await this.database.insert(tx, sagaId, 'done')
    return { n }
  }

  bind(handler: Handler<Tx> = this.write, how: How = {}): SinkBinding {
    const { maxAttempts = 3, lockTimeoutMs } = how
    return this.database.bind(handler, how, {
      group: 'stock',
      outbox: this.outbox(),
      schema: this.schema,
      backoff: FAST,
      maxAttempts,
      ...(lockTimeoutMs !== undefined && { lockTimeoutMs }),
    })
  }

  headers(operation: Operation): Headers {
    return { ...commandHeaders(this.id, operation), 'saga-kind': 'tcc' }
  }

  deliver(binding: SinkBinding, operation: Operation, attempts?: number): Promise<void> {
    return deliver(binding, REQUEST, this.headers(operation), attempts)
  }

  /** Returns the answers that no test has taken, oldest first. */
  async answers(): Promise<readonly string[]> {
    return (await takeReplies(this.sql, this.schema)).map(({ operation, status, final, code }) =>
      [operation, status, ...(final === true ? ['final'] : []), ...(code === undefined ? [] : [code])].join(' '),
    )
  }

  async send(binding: SinkBinding, operation: Operation, attempts?: number): Promise<readonly string[]> {
    await this.deliver(binding, operation, attempts)
    return this.answers()
  }

  async effects(): Promise<number> {
    return (await this.database.effects(this.id)).length
  }

  /** Returns the names of the prepared transactions of this saga. */
  prepared(): Promise<readonly string[]> {
    return this.database.prepared(`order/${this.id}/`)
  }

  endByHand(verb: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    return this.database.endByHand(verb, `order/${this.id}/`)
  }

  /** Purges its memory, as if this saga had begun long ago and were decided now. */
  async purge(): Promise<void> {
    const key = `order/${this.id}/reserve`
    await this.sql.query(
      `UPDATE ${this.schema}.saga_barrier SET created_at = created_at - interval '40 days'
       WHERE saga_key = $1 AND operation IN ('invoke', 'prepare')`,
      [key],
    )
    await this.database.purge(key)
    await purgeParticipant(this.sql, { schema: this.schema, olderThanMs: 30 * DAY })
  }

  async drop(): Promise<void> {
    await this.database.endByHand('ROLLBACK', 'concordat:')
    await this.sql.query(`DROP SCHEMA ${this.schema} CASCADE`)
  }
}
