/**
 * The barrier: which operation of which saga step a participant has seen, and what it answered. A row is inserted in the
 * transaction of the effect, so that "done" and "known to be done" are one commit.
 *
 * | operation  | row of `invoke`      | what happens                                                        |
 * |------------|----------------------|---------------------------------------------------------------------|
 * | invoke     | none                 | insert, call the handler, keep the reply                            |
 * | invoke     | ok, refused, final   | send the kept reply again                                           |
 * | invoke     | failed               | call the handler again                                              |
 * | invoke     | cancelled            | refuse: the compensation was here first                             |
 * | compensate | none                 | insert `cancelled`: nothing to undo, and a late invoke is refused   |
 * | compensate | refused              | nothing to undo                                                     |
 * | compensate | ok, failed, final    | call the handler, mark `cancelled`                                  |
 *
 * A concurrent duplicate blocks on the insert until the first transaction ends.
 *
 * @see "barrier" of the DTM project: one table serves idempotence, empty compensation and late action
 */
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor, type SqlTransaction } from '../core/sql.ts'
import type { Operation } from './state.ts'
import type { SagaReply } from './wire.ts'

/** `failed` may be tried again; `final` may not. */
export type BarrierStatus = 'ok' | 'refused' | 'failed' | 'final' | 'cancelled'

export interface BarrierRow {
  readonly status: BarrierStatus
  readonly reply: SagaReply | null
}

export class Barrier {
  readonly #query: OwnQuery
  readonly #table: string

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  }

  /** Reads nothing; the plan alone fails when the table is not there. @throws SqlTablesMissing */
  async ready(sql: SqlExecutor): Promise<void> {
    await this.#query(sql, `SELECT FROM ${this.#table} LIMIT 0`)
  }

  /** Inserts the row; `undefined` when it is new, else the row that stands, locked. */
  async enter(
    tx: SqlTransaction,
    key: string,
    operation: Operation,
    status: BarrierStatus,
  ): Promise<BarrierRow | undefined> {
    const inserted = await this.#query(
      tx,
      `INSERT INTO ${this.#table} (saga_key, operation, status) VALUES ($1, $2, $3)
       ON CONFLICT (saga_key, operation) DO NOTHING RETURNING saga_key`,
      [key, operation, status],
    )
    if (inserted.rows.length === 1) return undefined
    const found = await this.#query<BarrierRow>(
      tx,
      `SELECT status, reply FROM ${this.#table} WHERE saga_key = $1 AND operation = $2 FOR UPDATE`,
      [key, operation],
    )
    return found.rows[0]
  }

  /** Keeps what was answered. */
  async keep(
    tx: SqlTransaction,
    key: string,
    operation: Operation,
    status: BarrierStatus,
    reply: SagaReply,
  ): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $3, reply = $4::jsonb WHERE saga_key = $1 AND operation = $2`,
      [key, operation, status, JSON.stringify(reply)],
    )
  }

  /** From now on a late invoke is refused. */
  async cancelInvoke(tx: SqlTransaction, key: string): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = 'cancelled' WHERE saga_key = $1 AND operation = 'invoke'`,
      [key],
    )
  }
}
