/** What is kept of a branch until its saga is decided. */
import { hasCode } from '../../core/errors.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import type { CommandHeaders } from '../wire/wire.ts'
import { UndoNotYet } from './errors.ts'
import type { Image } from './plan.ts'
import { UNDO_CALL } from './relation.ts'
import { SETTING } from './tables.ts'

type Command = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth' | 'saga' | 'sagaId' | 'step'>

/** A branch that is not decided. */
export interface BranchRow {
  readonly branch: string
  readonly owner: string
  readonly key: string
  readonly replyTo: string
  readonly birth: string | null
}

const LOCK_NOT_AVAILABLE = '55P03'

/** The advisory lock of a saga: shared by its branches that are being done. @param owner an expression */
function lockOf(owner: string): string {
  return `hashtextextended('concordat:undo:' || ${owner}::text, 0)`
}

/** Holds in no key: control characters are refused in ids and names. */
const SEPARATOR = '\u001f'

/** A step of a saga: its images are its own. */
export function branchOf({ key, replyTo, birth }: Pick<Command, 'key' | 'replyTo' | 'birth'>): string {
  return [key, replyTo, birth ?? ''].join(SEPARATOR)
}

/** A saga: its steps may change the rows of each other. */
export function ownerOf({ saga, sagaId, replyTo, birth }: Command): string {
  return [saga, sagaId, replyTo, birth ?? ''].join(SEPARATOR)
}

export class Images {
  readonly #query: OwnQuery
  readonly #quoted: string

  constructor(schema: string) {
    this.#quoted = quoteIdentifier(schema)
    this.#query = ownQuery(schema, UNDO_CALL)
  }

  /**
   * What is written from here on in this transaction is of this branch.
   * @returns how much this connection has written to which tables before
   * @throws UndoNotYet while a branch of the same saga is confirmed or cancelled: it does not wait, as its row of the barrier is
   * what that may be waiting for
   */
  async begin(
    tx: SqlExecutor,
    command: Command,
    lockTimeoutMs: number,
    alsoWrites: readonly string[],
  ): Promise<Written> {
    const { key, replyTo, birth, saga, sagaId, step } = command
    const me = { schema: this.#quoted, by: 'saga', branch: branchOf(command), owner: ownerOf(command) }
    const { rows } = await this.#query<{ written: Written; isFree: boolean }>(
      tx,
      `WITH branch AS (
         INSERT INTO ${this.#quoted}.saga_undo (branch, owner, saga_key, reply_to, birth, saga, saga_id, step, also_writes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $11) ON CONFLICT (branch) DO NOTHING)
       SELECT set_config('${SETTING}', $9, true), set_config('lock_timeout', $10, true),
         pg_try_advisory_xact_lock_shared(${lockOf('$2')}) AS "isFree",
         (${SUMS}) AS written`,
      [
        me.branch,
        me.owner,
        key,
        replyTo,
        birth ?? null,
        saga,
        sagaId,
        step,
        JSON.stringify(me),
        `${lockTimeoutMs}ms`,
        [...alsoWrites],
      ],
    )
    if (rows[0]?.isFree !== true)
      throw new UndoNotYet(`${key} has to wait: its saga is being confirmed or cancelled here`)
    return rows[0].written
  }

  /**
   * What is written from here on is of nobody: constraint triggers that would write at the commit do so before.
   * @returns the tables that were written to and are not protected
   */
  async end(tx: SqlExecutor, before: Written, alsoWrites: readonly string[]): Promise<readonly string[]> {
    await tx.query('SET CONSTRAINTS ALL IMMEDIATE')
    const { rows } = await this.#query<{ tables: readonly string[] | null }>(
      tx,
      `SELECT set_config('${SETTING}', '', true), (
         SELECT array_agg(format('%I.%I', s.nspname, c.relname) ORDER BY 1)
         FROM (${WRITTEN}) w JOIN pg_catalog.pg_class c ON c.oid = w.oid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
         WHERE w.n > coalesce(($1::jsonb->>w.oid::text)::bigint, 0) AND NOT (${IS_OURS})
           AND coalesce(pg_partition_root(c.oid), c.oid) <> ALL (SELECT to_regclass(u) FROM unnest($2::text[]) u WHERE to_regclass(u) IS NOT NULL)
           AND NOT EXISTS (SELECT FROM ${this.#quoted}.saga_undo_table t JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid
             JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid AND f.proname LIKE 'saga\\_undo\\_row\\_%'
             WHERE t.relation = coalesce(pg_partition_root(c.oid), c.oid) AND g.tgenabled IN ('O', 'A'))) AS tables`,
      [JSON.stringify(before), [...alsoWrites]],
    )
    return rows[0]?.tables ?? []
  }

  /** Oldest first. */
  async read(tx: SqlExecutor, branch: string): Promise<readonly Image[]> {
    const { rows } = await this.#query<Image>(
      tx,
      `SELECT relation::oid::text AS relation, old_key AS "oldKey", new_key AS "newKey", old_row AS "oldRow", new_row AS "newRow"
       FROM ${this.#quoted}.saga_undo_image WHERE branch = $1 ORDER BY seq`,
      [branch],
    )
    return rows
  }

  /**
   * Until the end of the transaction no other one writes, confirms or cancels for this saga here. Call it before anything else
   * is locked: a branch that is still being done may want any row. Sets the timeout for all locks of the transaction.
   * @throws UndoNotYet when another one was still at it after `lockTimeoutMs`
   */
  async alone(tx: SqlExecutor, owner: string, key: string, lockTimeoutMs: number): Promise<void> {
    try {
      await tx.query(`SELECT set_config('lock_timeout', $2, true), pg_advisory_xact_lock(${lockOf('$1')})`, [
        owner,
        `${lockTimeoutMs}ms`,
      ])
    } catch (error) {
      if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error
      const problem = 'has to wait: a step of the same saga is still being done in this database. It is tried again'
      throw new UndoNotYet(`${key} ${problem}`, { cause: error })
    }
  }

  /** False: it is decided, or another kind of participant did it. */
  async isOpen(tx: SqlExecutor, branch: string): Promise<boolean> {
    const { rowCount } = await this.#query(tx, `SELECT FROM ${this.#quoted}.saga_undo WHERE branch = $1`, [branch])
    return rowCount > 0
  }

  /** The last branch of the same saga that changed one of the branch's rows after it, and is not undone. */
  async laterBranch(tx: SqlExecutor, branch: string): Promise<BranchRow | undefined> {
    const { rows } = await this.#query<BranchRow>(
      tx,
      `SELECT o.branch, o.owner, o.saga_key AS key, o.reply_to AS "replyTo", o.birth FROM ${this.#quoted}.saga_undo u
         JOIN ${this.#quoted}.saga_undo o ON o.owner = u.owner AND o.branch <> u.branch
         JOIN ${this.#quoted}.saga_undo_image i ON i.branch = o.branch
       WHERE u.branch = $1 AND EXISTS (SELECT FROM ${this.#quoted}.saga_undo_image m
         WHERE m.branch = u.branch AND m.relation = i.relation AND m.seq < i.seq
           AND (m.old_key IN (i.old_key, i.new_key) OR m.new_key IN (i.old_key, i.new_key)))
       ORDER BY i.seq DESC LIMIT 1`,
      [branch],
    )
    return rows[0]
  }

  /** What is written from here on undoes branches of this saga, until `end`. @returns what that has to be told */
  async undoing(tx: SqlExecutor, owner: string): Promise<Undoing> {
    const me = { schema: this.#quoted, by: 'undo', owner }
    const { rows } = await this.#query<Undoing>(
      tx,
      `SELECT set_config('${SETTING}', $1, true), (${SUMS}) AS written, ARRAY(
         SELECT DISTINCT unnest(also_writes) FROM ${this.#quoted}.saga_undo WHERE owner = $2) AS "alsoWrites"`,
      [JSON.stringify(me), owner],
    )
    return rows[0] as Undoing
  }

  /** Forgets the branch. With the last one of its saga in this database its rows are free. @see alone @returns false: there is none */
  async release(tx: SqlExecutor, branch: string): Promise<boolean> {
    const { rows } = await this.#query<{ owner: string; branch: string }>(
      tx,
      `SELECT o.owner, o.branch FROM ${this.#quoted}.saga_undo u JOIN ${this.#quoted}.saga_undo o ON o.owner = u.owner
       WHERE u.branch = $1 ORDER BY o.branch FOR UPDATE OF o`,
      [branch],
    )
    const owner = rows[0]?.owner
    if (owner === undefined) return false
    await this.#query(
      tx,
      `WITH images AS (DELETE FROM ${this.#quoted}.saga_undo_image WHERE branch = $1),
         locks AS (DELETE FROM ${this.#quoted}.saga_undo_lock WHERE owner = $2 AND NOT EXISTS (
           SELECT FROM ${this.#quoted}.saga_undo WHERE owner = $2 AND branch <> $1))
       DELETE FROM ${this.#quoted}.saga_undo WHERE branch = $1`,
      [branch, owner],
    )
    return true
  }
}

/** How much a connection has written to which tables, by their oids; what it did before this transaction may be in it. */
export type Written = Readonly<Record<string, number>>

export interface Undoing {
  readonly written: Written
  /** What the branches of the saga could write though it is not protected. */
  readonly alsoWrites: readonly string[]
}

const WRITTEN = `SELECT c.oid, n.n FROM pg_catalog.pg_class c CROSS JOIN LATERAL (SELECT pg_stat_get_xact_tuples_inserted(c.oid)
    + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid) AS n) n
  WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384 AND n.n > 0`

const SUMS = `SELECT coalesce(jsonb_object_agg(w.oid, w.n), '{}') FROM (${WRITTEN}) w`

/** Our own tables, in any schema that has them: a message that leaves is not undone, as it is not with TCC. */
const IS_OURS = `c.relname ~ '^(outbox|inbox|saga|transport|lock|cluster|operator|concordat_migration)(_|$)' AND EXISTS (
  SELECT FROM pg_catalog.pg_class m WHERE m.relnamespace = c.relnamespace AND m.relname = 'concordat_migration')`
