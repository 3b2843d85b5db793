/**
 * Keeps the order of a key while its messages change from the outbox's table to a log in the same database.
 *
 * Rows of such a destination were added before the change; the relay moves them. A process that finds such rows at its start adds
 * each message behind the rows of its key, as long as it runs. A transaction that does so holds a lock from before its own check
 * until its end. A check that gets the lock and sees no rows therefore proves that there will be none.
 *
 * Not detected: rows that processes of the old release add after the check.
 */
import type { EncodedMessage } from '../binder/channel/message.ts'
import type { SqlClient, SqlTransaction } from '../core/sql.ts'
import { outboxPartition } from './rows.ts'
import type { OutboxTables } from './tables.ts'

export class OutboxToLogOrder {
  readonly #tables: OutboxTables
  readonly #partitions: number
  readonly #isInLog: (destination: string) => boolean
  #mayBeLeft = false

  constructor(tables: OutboxTables, partitions: number, isInLog: (destination: string) => boolean) {
    this.#tables = tables
    this.#partitions = partitions
    this.#isInLog = isInLog
  }

  /** Called at the start, after the tables exist. */
  async look(sql: SqlClient): Promise<void> {
    this.#mayBeLeft = await sql.transaction(async (tx) => {
      const locked = await tx.query<{ is: boolean }>(`SELECT pg_try_advisory_xact_lock(${LOCK}) AS is`, [
        this.#tables.outbox,
      ])
      if (locked.rows[0]?.is !== true) return true
      const { rows } = await tx.query<{ name: string }>(
        `SELECT DISTINCT aggregatetype AS name FROM ${this.#tables.outbox}`,
      )
      return rows.some(({ name }) => this.#isInLog(name))
    })
  }

  /** @returns the messages that have to wait behind rows of their key */
  async behind(tx: SqlTransaction, messages: readonly EncodedMessage[]): Promise<ReadonlySet<EncodedMessage>> {
    const keyed = messages.filter(({ key }) => key !== null)
    if (!this.#mayBeLeft || keyed.length === 0) return new Set()
    // Two statements: the second has to see everything that was committed before the lock was free.
    await tx.query(`SELECT pg_advisory_xact_lock_shared(${LOCK})`, [this.#tables.outbox])
    const { rows } = await tx.query<{ n: number }>(
      `SELECT m.n::int AS n FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY AS m(partition, destination, key, n)
       WHERE EXISTS (SELECT 1 FROM ${this.#tables.outbox} o
         WHERE o.partition = m.partition AND o.aggregatetype = m.destination AND o.aggregateid = m.key)`,
      [
        keyed.map((message) => outboxPartition(message, this.#partitions)),
        keyed.map(({ destination }) => destination),
        keyed.map(({ key }) => key),
      ],
    )
    return new Set(rows.flatMap(({ n }) => keyed[n - 1] ?? []))
  }
}

const LOCK = "hashtextextended('concordat left rows of ' || $1, 0)"
