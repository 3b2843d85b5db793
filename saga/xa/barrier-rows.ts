/**
 * The barrier's rows for a prepared transaction.
 *
 * The row of `invoke` is committed before the handler is called, with the name (`gid`) of the transaction to be prepared. It is
 * never locked for long, so any process can read and change it. Beside it is another row, the gate: the prepared transaction has
 * locked it, and has written its name into it. So
 *
 * - at most one transaction of a saga step is open or prepared at a time;
 * - a process that finds the gate free, after changing the row of `invoke`, knows that no earlier call is still prepared;
 * - a process that reads a name in it knows that this transaction was committed.
 *
 * A locked gate is skipped, never awaited.
 */
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor, type SqlTransaction } from '../../core/sql.ts'
import { ageOfAnswer, OF_STEP, STEP_COLUMNS, stepParameters } from '../participant/barrier.ts'
import type { BarrierEntry, StepOwner } from '../participant/barrier-entry.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { GateState } from './resource.ts'

/** `operation` of a gate's row. No command has it. */
const GATE = 'prepare'

export class BarrierRows {
  readonly #query: OwnQuery
  readonly #table: string
  readonly #schema: string
  #database: string | undefined

  constructor(schema: string) {
    this.#schema = schema
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  }

  /** Returns the namespace of the names of prepared transactions. */
  async place(sql: SqlExecutor): Promise<readonly [database: string, schema: string]> {
    if (this.#database === undefined) {
      const { rows } = await this.#query<{ database: string }>(sql, 'SELECT current_database()::text AS database')
      this.#database = (rows[0] as { database: string }).database
    }
    return [this.#database, this.#schema]
  }

  /**
   * Records that the handler is about to be called, in a transaction that will be prepared as `gid`. The gate is read first,
   * because an insert that conflicts with it would wait for the transaction that has locked it.
   */
  async begin(tx: SqlTransaction, entry: BarrierEntry, gid: string): Promise<void> {
    await this.#query(
      tx,
      `WITH gate AS (
         INSERT INTO ${this.#table} (${STEP_COLUMNS}, status) SELECT $1, $2, '${GATE}', 'begun'
         WHERE NOT EXISTS (SELECT FROM ${this.#table} WHERE ${OF_STEP} AND operation = '${GATE}')
         ON CONFLICT (${STEP_COLUMNS}) DO NOTHING)
       UPDATE ${this.#table} SET status = 'begun', outside = true, gid = $3 WHERE ${OF_STEP} AND operation = 'invoke'`,
      [...stepParameters(entry), gid],
    )
  }

  /** Records only the name, because the gate is in another database. */
  async name(tx: SqlTransaction, entry: BarrierEntry, gid: string): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = 'begun', outside = true, gid = $3 WHERE ${OF_STEP} AND operation = 'invoke'`,
      [...stepParameters(entry), gid],
    )
  }

  /** Tells whether the call `gid` has begun, and was neither answered nor abandoned. */
  async isBegun(sql: SqlExecutor, step: StepOwner, gid: string): Promise<boolean> {
    const { rows } = await this.#query(
      sql,
      `SELECT FROM ${this.#table} WHERE ${OF_STEP} AND operation = 'invoke' AND status = 'begun' AND gid = $3`,
      [...stepParameters(step), gid],
    )
    return rows.length === 1
  }

  /** Reads the gate. Within a transaction a free gate stays locked. */
  async look(sql: SqlExecutor, step: StepOwner, base: string): Promise<GateState> {
    const { rows } = await this.#query<GateState>(
      sql,
      `WITH free AS (SELECT FROM ${this.#table} WHERE ${OF_STEP} AND operation = '${GATE}' FOR UPDATE SKIP LOCKED)
       SELECT EXISTS (SELECT FROM free)
           OR NOT EXISTS (SELECT FROM ${this.#table} WHERE ${OF_STEP} AND operation = '${GATE}') AS "isFree",
         ARRAY(SELECT gid FROM pg_prepared_xacts
           WHERE database = current_database() AND starts_with(gid, $3)) AS prepared`,
      [...stepParameters(step), base],
    )
    return rows[0] as GateState
  }

  /** Returns the name of the committed transaction; `null` without one. */
  async committed(sql: SqlExecutor, step: StepOwner): Promise<string | null> {
    const { rows } = await this.#query<{ gid: string | null }>(
      sql,
      `SELECT gid FROM ${this.#table} WHERE ${OF_STEP} AND operation = '${GATE}'`,
      stepParameters(step),
    )
    return rows[0]?.gid ?? null
  }

  /**
   * Passes the gate with the transaction to be prepared as `gid`; no other one can pass it then.
   * @returns `busy`: another call holds it, or this call was abandoned; `committed`: there is nothing left to do
   */
  async enter(tx: SqlTransaction, step: StepOwner, gid: string, base: string): Promise<'in' | 'busy' | 'committed'> {
    const { rows } = await this.#query<{ gid: string | null }>(
      tx,
      `SELECT gid FROM ${this.#table} WHERE ${OF_STEP} AND operation = '${GATE}' FOR UPDATE SKIP LOCKED`,
      stepParameters(step),
    )
    if (rows[0] === undefined) return 'busy'
    if (rows[0].gid?.startsWith(base) === true) return 'committed'
    const { rowCount } = await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = 'ok', gid = $3 WHERE ${OF_STEP} AND operation = '${GATE}'
         AND EXISTS (SELECT FROM ${this.#table} WHERE ${OF_STEP} AND operation = 'invoke' AND status = 'begun' AND gid = $3)`,
      [...stepParameters(step), gid],
    )
    return rowCount === 1 ? 'in' : 'busy'
  }

  /** Records the reply of the call `gid`. @returns false when it was abandoned */
  async keep(
    tx: SqlTransaction,
    { step, gid, round }: { readonly step: StepOwner; readonly gid: string; readonly round: number },
    status: 'ok' | 'refused',
    reply: SagaReply,
  ): Promise<boolean> {
    const { rowCount } = await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $4, outside = outside AND $4 <> 'refused', reply = $5::jsonb, round = greatest(round, $6),
         ${ageOfAnswer()}
       WHERE ${OF_STEP} AND operation = 'invoke' AND status = 'begun' AND gid = $3`,
      [...stepParameters(step), gid, status, JSON.stringify(reply), round],
    )
    return rowCount === 1
  }
}
