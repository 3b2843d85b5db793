/**
 * The barrier: which operation of which saga step a participant has seen, and what it answered. A row is inserted in the
 * transaction of the effect, so that "done" and "known to be done" are one commit.
 *
 * | operation  | row of `invoke`      | what happens                                                        |
 * |------------|----------------------|---------------------------------------------------------------------|
 * | invoke     | none                 | insert, call the handler, keep the reply                            |
 * | invoke     | ok, refused, final   | send the kept reply again                                           |
 * | invoke     | refused, final       | in a later round (an operator tries again): call the handler again  |
 * | invoke     | failed               | call the handler again; its refusal is kept as `final`              |
 * | invoke     | cancelled            | refuse: the compensation was here first                             |
 * | compensate | none                 | insert `cancelled`: nothing to undo, and a late invoke is refused   |
 * | compensate | refused              | nothing to undo                                                     |
 * | compensate | ok, failed, final    | call the handler, mark `cancelled`                                  |
 *
 * What effects outside of the transaction add:
 *
 * | operation  | row of `invoke`      | what happens                                                        |
 * |------------|----------------------|---------------------------------------------------------------------|
 * | invoke     | none                 | insert `begun` in a commit of its own, then as above                |
 * | invoke     | begun                | mark `failed` in a commit of its own, then as above                 |
 * | invoke     | refused              | in a later round: mark `begun` in a commit of its own, then as above |
 * | compensate | begun                | call the handler, mark `cancelled`                                  |
 *
 * What a TCC participant adds (`invoke` is its `try`, `compensate` its `cancel`):
 *
 * | operation  | row of `invoke`      | what happens                                                        |
 * |------------|----------------------|---------------------------------------------------------------------|
 * | confirm    | ok                   | call the handler, insert its row; with its row there: answer again  |
 * | confirm    | any other, or none   | fail for good, and refuse an invoke that comes late                 |
 * | compensate | ok, and confirmed    | fail for good                                                       |
 *
 * A concurrent duplicate blocks on the insert until the first transaction ends.
 *
 * Whose a row is: of one step of one saga, told by its key and the saga's birth. Two services may have sagas of one name and
 * id, and an id may be started again after its saga was deleted. A saga of which no birth is said is told by where it is
 * answered to. The service is no part of it: it may get another name while a step waits for its answer.
 *
 * `outside` stays with the row once an attempt had begun whose effects may be in no transaction of ours, whatever the process
 * that looks at it later would do: a release may change what `effects` says.
 *
 * @see "barrier" of the DTM project: one table serves idempotence, empty compensation and late action
 */
import {
  type OwnQuery,
  ownQuery,
  quoteIdentifier,
  type SqlClient,
  type SqlExecutor,
  type SqlTransaction,
} from '../../core/sql.ts'
import type { Operation } from '../machine/operation.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'

/** `failed` may be tried again; `final` may not. `begun`: nothing was answered yet, the handler may have been called. */
export type BarrierStatus = 'begun' | 'ok' | 'refused' | 'failed' | 'final' | 'cancelled'

/** A step of one saga. */
export type StepOwner = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth'>

/** What is known of an operation. */
export interface BarrierEntry extends StepOwner {
  readonly operation: Operation
  /** False: this is what was found, locked. */
  readonly isNew: boolean
  readonly status: BarrierStatus
  /** An attempt that was not refused may have had effects outside of the row's transaction. */
  readonly isOutside: boolean
  readonly reply: SagaReply | null
  /** In which of an operator's rounds it was decided. */
  readonly round: number
  /** Of an XA participant: the prepared transaction that holds, or held, what `invoke` did. */
  readonly gid: string | null
}

type Command = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth' | 'round'>
type Row = Omit<BarrierEntry, 'operation' | 'isNew' | 'replyTo'>

/** What was answered to a command. */
export interface BarrierAnswer {
  readonly operation: Operation
  readonly status: BarrierStatus
  readonly command: Command
  readonly reply: SagaReply | null
}

/** The rows of a step, with `stepParameters` as the first two. */
export const OF_STEP = 'saga_key = $1 AND birth = $2'
export const STEP_COLUMNS = 'saga_key, birth, operation'

export function stepParameters({ key, replyTo, birth }: StepOwner): readonly [key: string, birth: string] {
  return [key, birth === '' ? replyTo : birth]
}

const COLUMNS = 'saga_key AS key, birth, status, outside AS "isOutside", reply, round::int AS round, gid'
const ANSWERS = `(${STEP_COLUMNS}, status, outside, round, reply)
  SELECT ${STEP_COLUMNS}, status, status = 'begun', round, reply::jsonb
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[])
    AS a(${STEP_COLUMNS}, status, round, reply) ORDER BY ${STEP_COLUMNS}`

export class Barrier {
  readonly #query: OwnQuery
  readonly #table: string

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  }

  /** Reads nothing; the plan alone fails when the table is not there. @throws SqlTablesMissing */
  async ready(sql: SqlExecutor): Promise<void> {
    await this.#query(sql, `SELECT gid FROM ${this.#table} LIMIT 0`)
  }

  /**
   * Enters the operation, or finds that it is entered.
   * @param reply what it will be answered if nothing else is kept; with it a row that is new needs no `keep`
   */
  async enter(
    tx: SqlTransaction,
    command: Command,
    operation: Operation,
    status: BarrierStatus,
    reply: SagaReply | null = null,
  ): Promise<BarrierEntry> {
    for (;;) {
      if (await this.#insert(tx, command, { operation, status, reply })) {
        const { key, replyTo, birth, round } = command
        const isOutside = status === 'begun'
        return { key, replyTo, birth, operation, isNew: true, status, isOutside, reply, round, gid: null }
      }
      const found = await this.find(tx, command, operation)
      if (found !== undefined) return found
      // What was in the way is deleted by now. Begin again.
    }
  }

  /** The same of an operation that was most likely entered before: it is looked for first. */
  async hold(
    tx: SqlTransaction,
    command: Command,
    operation: Operation,
    status: BarrierStatus,
    reply: SagaReply | null = null,
  ): Promise<BarrierEntry> {
    return (await this.find(tx, command, operation)) ?? this.enter(tx, command, operation, status, reply)
  }

  /** Enters an operation that was most likely never entered, in a commit of its own. @returns false: something is in its place */
  enterAlone(sql: SqlClient, command: Command, operation: Operation, status: BarrierStatus): Promise<boolean> {
    return this.#insert(sql, command, { operation, status, reply: null })
  }

  /** What is entered, locked; `undefined`: nothing is. */
  find(tx: SqlTransaction, command: Command, operation: Operation): Promise<BarrierEntry | undefined> {
    return this.#found(tx, command, operation, 'FOR UPDATE')
  }

  /** The same as it is now: it waits for nobody, and may be another in a moment. */
  peek(sql: SqlExecutor, command: Command, operation: Operation): Promise<BarrierEntry | undefined> {
    return this.#found(sql, command, operation, '')
  }

  /** What is entered of each of several commands, locked, in one statement; each with a key of its own. `undefined`: nothing is. */
  async findAll(
    tx: SqlTransaction,
    commands: readonly Command[],
    operation: Operation,
  ): Promise<readonly (BarrierEntry | undefined)[]> {
    // One probe of the index for each, whatever the statistics say; in one order everywhere, so that nobody waits in a circle.
    const { rows } = await this.#query<Row>(
      tx,
      `SELECT found.* FROM (
         SELECT * FROM unnest($1::text[], $2::text[]) AS s(key, birth) ORDER BY key, birth) AS s
       CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM ${this.#table}
         WHERE saga_key = s.key AND birth = s.birth AND operation = $3 OFFSET 0 FOR UPDATE) AS found`,
      [...stepsOf(commands), operation],
    )
    const byKey = new Map(rows.map((row) => [row.key, row]))
    return commands.map(({ key, replyTo }) => {
      const found = byKey.get(key)
      return found && { ...found, replyTo, operation, isNew: false }
    })
  }

  /**
   * Enters and keeps in one statement what was answered to commands of which nothing was entered.
   * @throws an error of the database when something is by now: nothing may be committed then
   */
  async enterAll(tx: SqlTransaction, answers: readonly BarrierAnswer[]): Promise<void> {
    if (answers.length === 0) return
    await this.#query(tx, `INSERT INTO ${this.#table} ${ANSWERS}`, columnsOf(answers))
  }

  /** Keeps what was answered to commands whose rows are locked, in one statement. */
  async keepAll(tx: SqlTransaction, answers: readonly BarrierAnswer[]): Promise<void> {
    if (answers.length === 0) return
    // By way of the conflict: that is found by the index, whatever the statistics say.
    await this.#query(
      tx,
      `INSERT INTO ${this.#table} AS kept ${ANSWERS} ON CONFLICT (${STEP_COLUMNS}) DO UPDATE
       SET status = excluded.status, outside = kept.outside AND excluded.status <> 'refused', reply = excluded.reply,
         round = greatest(kept.round, excluded.round)`,
      columnsOf(answers),
    )
  }

  /** Keeps what was answered. */
  async keep(
    tx: SqlTransaction,
    entry: BarrierEntry,
    status: BarrierStatus,
    reply: SagaReply,
    round: number,
  ): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $4, outside = outside AND $4 <> 'refused', reply = $5::jsonb, round = greatest(round, $6)
       WHERE ${OF_STEP} AND operation = $3`,
      [...stepParameters(entry), entry.operation, status, JSON.stringify(reply), round],
    )
  }

  /**
   * Changes what is known of it, and keeps what was answered. `begun`: it is called once more. `cancelled`: it is refused when it
   * comes late. `failed`: it was called more than once, so the refusal of one call is not that of all.
   */
  async mark(tx: SqlTransaction, entry: BarrierEntry, status: 'begun' | 'cancelled' | 'failed'): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $4, outside = outside OR $4 <> 'cancelled' WHERE ${OF_STEP} AND operation = $3`,
      [...stepParameters(entry), entry.operation, status],
    )
  }

  /** @returns false: it is there already */
  async #insert(
    sql: SqlExecutor,
    command: Command,
    { operation, status, reply }: Pick<BarrierEntry, 'operation' | 'status' | 'reply'>,
  ): Promise<boolean> {
    const { rows } = await this.#query(
      sql,
      `INSERT INTO ${this.#table} (${STEP_COLUMNS}, status, outside, round, reply) VALUES ($1, $2, $3, $4, $4 = 'begun', $5, $6::jsonb)
       ON CONFLICT (${STEP_COLUMNS}) DO NOTHING RETURNING saga_key`,
      [...stepParameters(command), operation, status, command.round, reply && JSON.stringify(reply)],
    )
    return rows.length === 1
  }

  async #found(
    sql: SqlExecutor,
    command: Command,
    operation: Operation,
    lock: 'FOR UPDATE' | '',
  ): Promise<BarrierEntry | undefined> {
    const { rows } = await this.#query<Row>(
      sql,
      `SELECT ${COLUMNS} FROM ${this.#table} WHERE ${OF_STEP} AND operation = $3 ${lock}`,
      [...stepParameters(command), operation],
    )
    return rows[0] && { ...rows[0], replyTo: command.replyTo, operation, isNew: false }
  }
}

function stepsOf(commands: readonly Command[]): readonly string[][] {
  const steps = commands.map(stepParameters)
  return [steps.map(([key]) => key), steps.map(([, birth]) => birth)]
}

function columnsOf(answers: readonly BarrierAnswer[]): readonly (readonly unknown[])[] {
  return [
    ...stepsOf(answers.map(({ command }) => command)),
    answers.map(({ operation }) => operation),
    answers.map(({ status }) => status),
    answers.map(({ command }) => command.round),
    answers.map(({ reply }) => reply && JSON.stringify(reply)),
  ]
}
