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
 * Whose a row is: of the saga that answers are sent to, told by its key, its service (the reply channel) and its birth. The
 * first to come has the row of the bare key, which is all that releases before these marks know; another service, or
 * another saga of this service that got the same id later, has a row beside it. A mark that is missing on either side (it
 * was written, or sent, by such a release) fits any: while releases run side by side nothing is done twice, and for as
 * long as such rows are kept they stand for every saga with their key, as they did before.
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

/** What is known of an operation. */
export interface BarrierEntry {
  /** The row's key. */
  readonly key: string
  readonly operation: Operation
  /** False: this is what was found, locked. */
  readonly isNew: boolean
  readonly status: BarrierStatus
  readonly reply: SagaReply | null
  /** In which of an operator's rounds it was decided. */
  readonly round: number
  /** Of an XA participant: the prepared transaction that holds, or held, what `invoke` did. */
  readonly gid: string | null
}

type Command = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth' | 'round'>

interface Row extends Pick<BarrierEntry, 'key' | 'status' | 'reply' | 'round' | 'gid'> {
  readonly replyTo: string | null
  readonly birth: string | null
}

/** What was answered to a command. */
export interface BarrierAnswer {
  /** The row's key. */
  readonly key: string
  readonly operation: Operation
  readonly status: BarrierStatus
  readonly command: Command
  readonly reply: SagaReply | null
}

/** Holds in no key: control characters are refused in ids and names. */
const SEPARATOR = '\u001f'
const COLUMNS = 'saga_key AS key, status, reply, round::int AS round, reply_to AS "replyTo", birth, gid'
const ANSWERS = `(saga_key, operation, status, reply_to, birth, round, reply)
  SELECT key, operation, status, reply_to, birth, round, reply::jsonb
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[])
    AS a(key, operation, status, reply_to, birth, round, reply) ORDER BY key`

export class Barrier {
  readonly #query: OwnQuery
  readonly #table: string

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.saga_barrier`
    this.#query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  }

  /** Reads nothing; the plan alone fails when the table is not there, or is that of an older release. @throws SqlTablesMissing */
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
    const { key, replyTo, birth } = command
    const ofService = [key, replyTo].join(SEPARATOR)
    const ofBirth = [key, replyTo, birth].join(SEPARATOR)
    const fresh = { operation, isNew: true, status, reply, round: command.round, gid: null }
    const insert = (place: string, beside: readonly string[]): Promise<boolean> =>
      this.#insert(tx, command, { ...fresh, key: place }, beside)
    for (;;) {
      if (await insert(key, [ofService, ofBirth])) return { ...fresh, key }
      const rows = await this.#rows(tx, operation, [ofBirth, ofService, key])
      const found = rows.find((row) => fits(row, command))
      if (found !== undefined) return { ...found, operation, isNew: false }
      const place = rows.some((row) => row.replyTo === replyTo) ? ofBirth : ofService
      // None at all: what was in the way is deleted by now. Begin again.
      if (rows.length > 0 && (await insert(place, []))) return { ...fresh, key: place }
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
    const { key, replyTo, birth, round } = command
    const beside = [[key, replyTo].join(SEPARATOR), [key, replyTo, birth].join(SEPARATOR)]
    return this.#insert(sql, command, { key, operation, isNew: true, status, reply: null, round, gid: null }, beside)
  }

  /** What is entered, locked; `undefined`: nothing is. */
  find(tx: SqlTransaction, command: Command, operation: Operation): Promise<BarrierEntry | undefined> {
    return this.#found(tx, command, operation, 'FOR UPDATE')
  }

  /** The same as it is now: it waits for nobody, and may be another in a moment. */
  peek(sql: SqlExecutor, command: Command, operation: Operation): Promise<BarrierEntry | undefined> {
    return this.#found(sql, command, operation, '')
  }

  /**
   * What is entered of each of several commands, locked, in one statement; each with a key of its own. `undefined`: nothing is.
   * `'another'`: only what is of others with its key, beside which it is entered by itself.
   */
  async findAll(
    tx: SqlTransaction,
    commands: readonly Command[],
    operation: Operation,
  ): Promise<readonly (BarrierEntry | 'another' | undefined)[]> {
    const places = commands.map(placesOf)
    // One probe of the index for each place, whatever the statistics say; in one order everywhere, so that nobody waits in a circle.
    const { rows } = await this.#query<Row>(
      tx,
      `SELECT found.* FROM (SELECT place FROM unnest($1::text[]) AS p(place) ORDER BY place) AS p
       CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM ${this.#table} WHERE saga_key = p.place AND operation = $2 OFFSET 0 FOR UPDATE) AS found`,
      [places.flat(), operation],
    )
    const byKey = new Map(rows.map((row) => [row.key, row]))
    return commands.map((command, i) => {
      const its = (places[i] ?? []).flatMap((place) => byKey.get(place) ?? [])
      const found = its.find((row) => fits(row, command))
      if (found === undefined) return its.length > 0 ? 'another' : undefined
      return { ...found, operation, isNew: false }
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
      `INSERT INTO ${this.#table} AS kept ${ANSWERS} ON CONFLICT (saga_key, operation) DO UPDATE
       SET status = excluded.status, reply = excluded.reply, round = greatest(kept.round, excluded.round)`,
      columnsOf(answers),
    )
  }

  /** Keeps what was answered. */
  async keep(
    tx: SqlTransaction,
    { key, operation }: BarrierEntry,
    status: BarrierStatus,
    reply: SagaReply,
    round: number,
  ): Promise<void> {
    await this.#query(
      tx,
      `UPDATE ${this.#table} SET status = $3, reply = $4::jsonb, round = greatest(round, $5)
       WHERE saga_key = $1 AND operation = $2`,
      [key, operation, status, JSON.stringify(reply), round],
    )
  }

  /**
   * Changes what is known of it, and keeps what was answered. `begun`: it is called once more. `cancelled`: it is refused when it
   * comes late. `failed`: it was called more than once, so the refusal of one call is not that of all.
   */
  async mark(
    tx: SqlTransaction,
    { key, operation }: BarrierEntry,
    status: 'begun' | 'cancelled' | 'failed',
  ): Promise<void> {
    await this.#query(tx, `UPDATE ${this.#table} SET status = $3 WHERE saga_key = $1 AND operation = $2`, [
      key,
      operation,
      status,
    ])
  }

  /** @param beside keys under which nothing of the same operation may lie */
  async #insert(
    tx: SqlExecutor,
    { replyTo, birth, round }: Command,
    { key, operation, status, reply }: BarrierEntry,
    beside: readonly string[],
  ): Promise<boolean> {
    const { rows } = await this.#query(
      tx,
      `INSERT INTO ${this.#table} (saga_key, operation, status, reply_to, birth, round, reply)
       SELECT $1, $2, $3, $4, $5, $6, $8::jsonb
       WHERE NOT EXISTS (SELECT FROM ${this.#table} WHERE saga_key = ANY($7::text[]) AND operation = $2)
       ON CONFLICT (saga_key, operation) DO NOTHING RETURNING saga_key`,
      [key, operation, status, replyTo, birth ?? null, round, [...beside], reply && JSON.stringify(reply)],
    )
    return rows.length === 1
  }

  async #found(
    sql: SqlExecutor,
    command: Command,
    operation: Operation,
    lock: 'FOR UPDATE' | '',
  ): Promise<BarrierEntry | undefined> {
    const found = (await this.#rows(sql, operation, placesOf(command), lock)).find((row) => fits(row, command))
    return found && { ...found, operation, isNew: false }
  }

  /** In the order of the keys. They stay locked: a purge must not delete what another row lies beside. */
  async #rows(
    sql: SqlExecutor,
    operation: Operation,
    keys: readonly string[],
    lock: 'FOR UPDATE' | '' = 'FOR UPDATE',
  ): Promise<readonly Row[]> {
    const { rows } = await this.#query<Row>(
      sql,
      `SELECT ${COLUMNS} FROM ${this.#table}
       WHERE saga_key = ANY($1::text[]) AND operation = $2 ORDER BY saga_key ${lock}`,
      [[...keys], operation],
    )
    return keys.flatMap((key) => rows.filter((row) => row.key === key))
  }
}

/** Where its row may be: that of its own first. */
function placesOf({ key, replyTo, birth }: Command): readonly string[] {
  return [[key, replyTo, birth].join(SEPARATOR), [key, replyTo].join(SEPARATOR), key]
}

function columnsOf(answers: readonly BarrierAnswer[]): readonly (readonly unknown[])[] {
  return [
    answers.map(({ key }) => key),
    answers.map(({ operation }) => operation),
    answers.map(({ status }) => status),
    answers.map(({ command }) => command.replyTo),
    answers.map(({ command }) => command.birth ?? null),
    answers.map(({ command }) => command.round),
    answers.map(({ reply }) => reply && JSON.stringify(reply)),
  ]
}

/** What is not known of either fits. */
function fits(row: Row, { replyTo, birth }: Command): boolean {
  if (row.replyTo !== null && row.replyTo !== replyTo) return false
  return row.birth === null || birth === undefined || row.birth === birth
}
