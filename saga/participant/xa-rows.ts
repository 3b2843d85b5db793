/**
 * What the barrier keeps of a transaction that is prepared.
 *
 * The row of `invoke` is committed before the handler is called, with the name (`gid`) of the transaction that will be
 * prepared. Nothing holds it locked, so whoever comes can read and change it. Beside it lies the gate, a row of its own: the
 * prepared transaction has it locked, and has written its name into it. So
 *
 * - at most one transaction of a saga step is open or prepared at a time;
 * - who finds the gate free, after changing the row of `invoke`, knows that no earlier call is prepared any more;
 * - who reads a name in it knows that this transaction was committed.
 *
 * Nobody waits for the gate: it is skipped when it is locked.
 */
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor, type SqlTransaction } from '../../core/sql.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'
import type { BarrierEntry } from './barrier.ts'
import type { GateState } from './xa-resource.ts'

/** No `Operation`: nothing is asked for by it. */
const GATE = 'prepare'

export class XaRows {
  readonly #query: OwnQuery
  readonly #table: string
  readonly #schema: string
  #database: string | undefined

  constructor(schema: string) {
    this.#schema = schema
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  }

  /** Where the names of prepared transactions are from. */
  async place(sql: SqlExecutor): Promise<readonly [database: string, schema: string]> {
    if (this.#database === undefined) {
      const { rows } = await sql.query<{ database: string }>('SELECT current_database()::text AS database')
      this.#database = (rows[0] as { database: string }).database
    }
    return [this.#database, this.#schema]
  }

  /**
   * Writes down that the handler is about to be called, in a transaction that will be prepared as `gid`. The gate is looked
   * for first: an insert that meets it would wait for the transaction that has it locked.
   */
  async begin(tx: SqlTransaction, { key }: BarrierEntry, gid: string, command: CommandHeaders): Promise<void> {
    await this.#query(
      tx,
      `WITH gate AS (
         INSERT INTO ${this.#table} (saga_key, operation, status, reply_to, birth) SELECT $1, '${GATE}', 'begun', $3, $4
         WHERE NOT EXISTS (SELECT FROM ${this.#table} WHERE saga_key = $1 AND operation = '${GATE}')
         ON CONFLICT (saga_key, operation) DO NOTHING)
       UPDATE ${this.#table} SET status = 'begun', gid = $2 WHERE saga_key = $1 AND operation = 'invoke'`,
      [key, gid, command.replyTo, command.birth ?? null],
    )
  }

  /** The same where the gate is in another database: the name alone is written here. */
  async name(tx: SqlTransaction, { key }: BarrierEntry, gid: string): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = 'begun', gid = $2 WHERE saga_key = $1 AND operation = 'invoke'`,
      [key, gid],
    )
  }

  /** Whether the call that is `gid` has begun, and was neither answered nor given up. */
  async isBegun(sql: SqlExecutor, key: string, gid: string): Promise<boolean> {
    const { rows } = await this.#query(
      sql,
      `SELECT FROM ${this.#table} WHERE saga_key = $1 AND operation = 'invoke' AND status = 'begun' AND gid = $2`,
      [key, gid],
    )
    return rows.length === 1
  }

  /** Whether somebody is at it. In a transaction the gate stays locked, if it was free. */
  async look(sql: SqlExecutor, key: string, base: string): Promise<GateState> {
    const { rows } = await this.#query<GateState>(
      sql,
      `WITH free AS (SELECT FROM ${this.#table} WHERE saga_key = $1 AND operation = '${GATE}' FOR UPDATE SKIP LOCKED)
       SELECT EXISTS (SELECT FROM free)
           OR NOT EXISTS (SELECT FROM ${this.#table} WHERE saga_key = $1 AND operation = '${GATE}') AS "isFree",
         ARRAY(SELECT gid FROM pg_prepared_xacts
           WHERE database = current_database() AND starts_with(gid, $2)) AS prepared`,
      [key, base],
    )
    return rows[0] as GateState
  }

  /** The name of the transaction that was committed; `null`: none was. */
  async committed(sql: SqlExecutor, key: string): Promise<string | null> {
    const { rows } = await this.#query<{ gid: string | null }>(
      sql,
      `SELECT gid FROM ${this.#table} WHERE saga_key = $1 AND operation = '${GATE}'`,
      [key],
    )
    return rows[0]?.gid ?? null
  }

  /**
   * Passes the gate with the transaction that will be prepared as `gid`: from here on no other one can.
   * @returns `busy`: somebody else is in it, or this call was given up; `committed`: nothing is left to be done
   */
  async enter(tx: SqlTransaction, key: string, gid: string, base: string): Promise<'in' | 'busy' | 'committed'> {
    const { rows } = await this.#query<{ gid: string | null }>(
      tx,
      `SELECT gid FROM ${this.#table} WHERE saga_key = $1 AND operation = '${GATE}' FOR UPDATE SKIP LOCKED`,
      [key],
    )
    if (rows[0] === undefined) return 'busy'
    if (rows[0].gid?.startsWith(base) === true) return 'committed'
    const { rowCount } = await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = 'ok', gid = $2 WHERE saga_key = $1 AND operation = '${GATE}'
         AND EXISTS (SELECT FROM ${this.#table} WHERE saga_key = $1 AND operation = 'invoke' AND status = 'begun' AND gid = $2)`,
      [key, gid],
    )
    return rowCount === 1 ? 'in' : 'busy'
  }

  /** Keeps the answer of the call that is `gid`. @returns false when it was given up */
  async keep(
    tx: SqlTransaction,
    { key, gid, round }: { readonly key: string; readonly gid: string; readonly round: number },
    status: 'ok' | 'refused',
    reply: SagaReply,
  ): Promise<boolean> {
    const { rowCount } = await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $3, reply = $4::jsonb, round = greatest(round, $5)
       WHERE saga_key = $1 AND operation = 'invoke' AND status = 'begun' AND gid = $2`,
      [key, gid, status, JSON.stringify(reply), round],
    )
    return rowCount === 1
  }
}
