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
 * Additions for effects outside of the transaction:
 *
 * | operation  | row of `invoke`      | what happens                                                        |
 * |------------|----------------------|---------------------------------------------------------------------|
 * | invoke     | none                 | insert `begun` in a commit of its own, then as above                |
 * | invoke     | begun                | mark `failed` in a commit of its own, then as above                 |
 * | invoke     | refused              | in a later round: mark `begun` in a commit of its own, then as above |
 * | compensate | begun                | call the handler, mark `cancelled`                                  |
 *
 * Additions for a TCC participant (`invoke` is its `try`, `compensate` its `cancel`):
 *
 * | operation  | row of `invoke`      | what happens                                                        |
 * |------------|----------------------|---------------------------------------------------------------------|
 * | confirm    | ok                   | call the handler, insert its row; with its row there: answer again  |
 * | confirm    | any other, or none   | fail permanently, and refuse an invoke that comes late              |
 * | compensate | ok, and confirmed    | fail permanently                                                    |
 *
 * A concurrent duplicate blocks on the insert until the first transaction ends.
 *
 * A row belongs to one step of one saga, identified by its key and the saga's birth. Two services may have sagas of one name and id, and an
 * id may be started again after its saga was deleted. A saga without a birth is identified by its reply channel. The service is not part of
 * the identity: it may be renamed while a step waits for its answer.
 *
 * An `invoke` is barred, which means that its handler is not called and nothing is entered for it, when
 *
 * - an earlier saga of the same service had the id, and its effect in this step stands (`standing`): after a restore its coordinator may have
 *   forgotten it. Refused or undone steps do not stand.
 * - the command is older than the newest row that a purge may have deleted (`purged`): it may have been done.
 *
 * The probe is part of the insert. Two sagas of one id whose first calls are open at the same moment do not see each other: commands of one
 * id are handled one at a time, and one coordinator starts an id once.
 *
 * `outside` stays with the row once an attempt began whose effects may be outside our transactions, regardless of the process that reads it
 * later: a release may change the participant's `effects`.
 *
 * @see "barrier" of the DTM project: one table serves idempotence, empty compensation and late action
 */
import { DAY } from '../../core/clock.ts'
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
import { BarrierConditions } from './barrier-conditions.ts'
import {
  type BarrierAnswer,
  type BarrierCommand,
  type BarrierEntry,
  type BarrierRow,
  type BarrierStatus,
  barredEntry,
  entryOf,
  type StepOwner,
} from './barrier-entry.ts'

type Entering = Pick<BarrierEntry, 'operation' | 'reply'> & { readonly status: BarrierStatus }

/** Minimum age of rows that a purge deletes. */
export const PURGE_AFTER_MS = DAY

/** Condition for the rows of a step, with `stepParameters` as the first two. */
export const OF_STEP = 'saga_key = $1 AND birth = $2'
export const STEP_COLUMNS = 'saga_key, birth, operation'

export function stepParameters({ key, replyTo, birth }: StepOwner): readonly [key: string, birth: string] {
  return [key, birth === '' ? replyTo : birth]
}

/** Maximum time by which a reply is younger than its row's `created_at`. */
export const ANSWERED_WITHIN = "interval '1 minute'"

/**
 * Assignment that makes a row as young as its reply, so that a purge keeps it: the command may be delivered again. A reply within
 * a minute changes nothing, which saves an index update; the purge adds that minute.
 * @param row alias of the table and a dot, or nothing
 */
export const ageOfAnswer = (row: string = ''): string =>
  `created_at = CASE WHEN ${row}created_at < clock_timestamp() - ${ANSWERED_WITHIN} THEN clock_timestamp() ELSE ${row}created_at END`

const COLUMNS = 'saga_key AS key, birth, status, outside AS "isOutside", reply, round::int AS round, gid'
const ANSWERS = `(${STEP_COLUMNS}, reply_to, status, outside, round, reply)
  SELECT ${STEP_COLUMNS}, reply_to, status, status = 'begun', round, reply::jsonb
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[])
    AS a(${STEP_COLUMNS}, reply_to, status, round, reply) ORDER BY ${STEP_COLUMNS}`

export class Barrier {
  readonly #query: OwnQuery
  readonly #table: string
  readonly #conditions: BarrierConditions

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#conditions = new BarrierConditions(schema)
    this.#query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  }

  /** Checks the table without reading: planning fails if it is missing. @throws `core.tables_missing` */
  async ready(sql: SqlExecutor): Promise<void> {
    await this.#query(sql, `SELECT gid FROM ${this.#table} LIMIT 0`)
  }

  /**
   * Records the operation, or finds its record.
   * @param reply reply unless another one is recorded; with it a new row needs no `keep`
   */
  async enter(
    tx: SqlTransaction,
    command: BarrierCommand,
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
      const found = (await this.find(tx, command, operation)) ?? (await this.#barred(tx, command, operation, status))
      if (found !== undefined) return found
      // The conflicting row has been deleted by now. Begin again.
    }
  }

  /** Same for an operation that is most likely recorded: looks for its record first. */
  async hold(
    tx: SqlTransaction,
    command: BarrierCommand,
    operation: Operation,
    status: BarrierStatus,
    reply: SagaReply | null = null,
  ): Promise<BarrierEntry> {
    return (await this.find(tx, command, operation)) ?? this.enter(tx, command, operation, status, reply)
  }

  /**
   * Records an operation that is most likely new, in a separate commit. @returns false: a record exists, or the command is barred
   */
  enterAlone(sql: SqlClient, command: BarrierCommand, operation: Operation, status: BarrierStatus): Promise<boolean> {
    return this.#insert(sql, command, { operation, status, reply: null })
  }

  /** Finds and locks a record; `undefined` without one. */
  find(tx: SqlTransaction, command: BarrierCommand, operation: Operation): Promise<BarrierEntry | undefined> {
    return this.#found(tx, command, operation, 'FOR UPDATE')
  }

  /** Reads a record without waiting for a lock; it may change at once. */
  peek(sql: SqlExecutor, command: BarrierCommand, operation: Operation): Promise<BarrierEntry | undefined> {
    return this.#found(sql, command, operation, '')
  }

  /** Returns records, or bars, of several commands with different keys, locked, in one statement. `undefined`: none. */
  async findAll(
    tx: SqlTransaction,
    commands: readonly BarrierCommand[],
    operation: Operation,
  ): Promise<readonly (BarrierEntry | undefined)[]> {
    // Forces an index probe for each, regardless of statistics; in the same order everywhere, so that no two transactions
    // deadlock.
    const { rows } = await this.#query<Partial<BarrierRow> & { readonly of: string }>(
      tx,
      `SELECT s.key AS of, found.key, found.birth, found.status, found."isOutside", found.reply, found.round, found.gid,
         ${this.#conditions.standing('s.key', 's.birth', 's.reply_to')} AS "standingSince"
       FROM (
         SELECT k.key, k.birth, k.reply_to FROM unnest($1::text[], $2::text[], $4::text[]) AS k(key, birth, reply_to)
         ORDER BY k.key, k.birth) AS s
       LEFT JOIN LATERAL (SELECT ${COLUMNS} FROM ${this.#table}
         WHERE saga_key = s.key AND birth = s.birth AND operation = $3 OFFSET 0 FOR UPDATE) AS found ON true`,
      [...stepsOf(commands), operation, commands.map(({ replyTo }) => replyTo)],
    )
    const byKey = new Map(rows.map(({ of, ...row }) => [of, row]))
    return commands.map((command) => {
      const found = byKey.get(command.key)
      if (typeof found?.status === 'string') return entryOf(found as BarrierRow, command, operation)
      const since = found?.standingSince
      return typeof since === 'string' ? barredEntry(command, operation, { by: 'standing', at: since }) : undefined
    })
  }

  /**
   * Records replies to commands without a record, in one statement.
   * @throws a database error if a record exists by now: nothing may be committed then
   */
  async enterAll(tx: SqlTransaction, answers: readonly BarrierAnswer[]): Promise<void> {
    if (answers.length === 0) return
    await this.#query(tx, `INSERT INTO ${this.#table} ${ANSWERS}`, columnsOf(answers))
  }

  /** Records replies to commands whose rows are locked, in one statement. */
  async keepAll(tx: SqlTransaction, answers: readonly BarrierAnswer[]): Promise<void> {
    if (answers.length === 0) return
    // Uses a conflict, which is found by the index regardless of statistics.
    await this.#query(
      tx,
      `INSERT INTO ${this.#table} AS kept ${ANSWERS} ON CONFLICT (${STEP_COLUMNS}) DO UPDATE
       SET status = excluded.status, outside = kept.outside AND excluded.status <> 'refused', reply = excluded.reply,
         round = greatest(kept.round, excluded.round), ${ageOfAnswer('kept.')}`,
      columnsOf(answers),
    )
  }

  /** Records the reply. */
  async keep(
    tx: SqlTransaction,
    entry: BarrierEntry,
    status: BarrierStatus,
    reply: SagaReply,
    round: number,
  ): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $4, outside = outside AND $4 <> 'refused', reply = $5::jsonb, round = greatest(round, $6),
         ${ageOfAnswer()} WHERE ${OF_STEP} AND operation = $3`,
      [...stepParameters(entry), entry.operation, status, JSON.stringify(reply), round],
    )
  }

  /**
   * Changes the state of a record and stores the reply. `begun`: it is called once more. `cancelled`: it is refused if it arrives
   * later. `failed`: it was called more than once, so a refusal of one call does not apply to all.
   */
  async mark(tx: SqlTransaction, entry: BarrierEntry, status: 'begun' | 'cancelled' | 'failed'): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $4, outside = outside OR $4 <> 'cancelled' WHERE ${OF_STEP} AND operation = $3`,
      [...stepParameters(entry), entry.operation, status],
    )
  }

  /** @returns false: a record exists, or the command is barred */
  async #insert(sql: SqlExecutor, command: BarrierCommand, { operation, status, reply }: Entering): Promise<boolean> {
    // A step that is cancelled before its invoke arrives is never called.
    const unless = this.#conditions.of(command, operation, status).map((bar) => `${bar} IS NULL`)
    const { rows } = await this.#query(
      sql,
      `INSERT INTO ${this.#table} (saga_key, birth, reply_to, operation, status, outside, round, reply)
       SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $5::text = 'begun', $6::int, $7::jsonb
       ${unless.length === 0 ? '' : `WHERE ${unless.join(' AND ')}`} ON CONFLICT (${STEP_COLUMNS}) DO NOTHING RETURNING saga_key`,
      [...stepParameters(command), command.replyTo, operation, status, command.round, reply && JSON.stringify(reply)],
    )
    return rows.length === 1
  }

  /** Returns the bar of a step that was not recorded. */
  async #barred(
    tx: SqlTransaction,
    command: BarrierCommand,
    operation: Operation,
    status: BarrierStatus,
  ): Promise<BarrierEntry | undefined> {
    const [standing, purged = 'NULL'] = this.#conditions.of(command, operation, status)
    if (standing === undefined) return undefined
    const { rows } = await this.#query<{ readonly standing: string | null; readonly purged: string | null }>(
      tx,
      `SELECT ${standing} AS standing, ${purged} AS purged`,
      [...stepParameters(command), command.replyTo],
    )
    const [found] = rows
    const by = typeof found?.standing === 'string' ? 'standing' : 'purged'
    const at = found?.[by]
    return typeof at === 'string' ? barredEntry(command, operation, { by, at }) : undefined
  }

  async #found(
    sql: SqlExecutor,
    command: BarrierCommand,
    operation: Operation,
    lock: 'FOR UPDATE' | '',
  ): Promise<BarrierEntry | undefined> {
    const isInvoke = operation === 'invoke'
    const standing = isInvoke ? this.#conditions.standing('b.saga_key', 'b.birth', '$4') : 'NULL'
    const { rows } = await this.#query<BarrierRow>(
      sql,
      `SELECT ${COLUMNS}, ${standing} AS "standingSince" FROM ${this.#table} b WHERE ${OF_STEP} AND operation = $3 ${lock}`,
      [...stepParameters(command), operation, ...(isInvoke ? [command.replyTo] : [])],
    )
    return rows[0] && entryOf(rows[0], command, operation)
  }
}

function stepsOf(commands: readonly BarrierCommand[]): readonly string[][] {
  const steps = commands.map(stepParameters)
  return [steps.map(([key]) => key), steps.map(([, birth]) => birth)]
}

function columnsOf(answers: readonly BarrierAnswer[]): readonly (readonly unknown[])[] {
  return [
    ...stepsOf(answers.map(({ command }) => command)),
    answers.map(({ operation }) => operation),
    answers.map(({ command }) => command.replyTo),
    answers.map(({ status }) => status),
    answers.map(({ command }) => command.round),
    answers.map(({ reply }) => reply && JSON.stringify(reply)),
  ]
}
