/** Row images of a branch, kept until its saga is decided. */
import { hasCode } from '../../core/errors.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import { stepParameters } from '../participant/barrier.ts'
import type { StepOwner } from '../participant/barrier-entry.ts'
import type { CommandHeaders } from '../wire/wire.ts'
import { type Strayed, UndoError } from './errors.ts'
import type { Image } from './plan.ts'
import { lockOf, SUMS } from './sql-functions.ts'
import { UNDO_CALL } from './table-structure.ts'
import { SETTING } from './tables.ts'

type Command = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth' | 'saga' | 'sagaId' | 'step'>

/** A branch that is not decided. */
export interface BranchRow {
  readonly branch: string
  readonly owner: string
  readonly key: string
  readonly replyTo: string
  readonly birth: string
}

const LOCK_NOT_AVAILABLE = '55P03'

/** Cannot occur in a key: ids and names contain no control characters. */
const SEPARATOR = '\u001f'

/** Identifies a step of a saga, which has its own images. */
export function branchOf(step: StepOwner): string {
  return stepParameters(step).join(SEPARATOR)
}

/** Identifies a saga, whose steps may change the same rows. */
export function ownerOf(command: Command): string {
  const [, birth] = stepParameters(command)
  return [command.saga, command.sagaId, birth].join(SEPARATOR)
}

/** Key for rows that triggers add while branches of a saga are undone; no step can have this key. */
function additionsOf(owner: string): string {
  return ['undo', owner].join(SEPARATOR)
}

export class Images {
  readonly #query: OwnQuery
  readonly #quoted: string

  constructor(schema: string) {
    this.#quoted = quoteIdentifier(schema)
    this.#query = ownQuery(schema, UNDO_CALL)
  }

  /**
   * Assigns all further writes of this transaction to the branch.
   * @returns previous writes of this connection, by table
   * @throws `saga.undo_not_yet` while a branch of the same saga is confirmed or cancelled. It does not wait, because that
   * operation may be waiting for its row of the barrier
   */
  async begin(
    tx: SqlExecutor,
    command: Command,
    lockTimeoutMs: number,
    alsoWrites: readonly string[],
  ): Promise<Written> {
    const { key, replyTo, saga, sagaId, step } = command
    const [, birth] = stepParameters(command)
    const me = { schema: this.#quoted, by: 'saga', branch: branchOf(command), owner: ownerOf(command) }
    const { rows } = await this.#query<{ written: Written; isFree: boolean }>(
      tx,
      `SELECT is_free AS "isFree", written FROM ${this.#quoted}.saga_undo_begin($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [
        me.branch,
        me.owner,
        key,
        replyTo,
        birth,
        saga,
        sagaId,
        step,
        [...alsoWrites],
        JSON.stringify(me),
        `${lockTimeoutMs}ms`,
      ],
    )
    if (rows[0]?.isFree !== true)
      throw new UndoError('saga.undo_not_yet', {
        message: `${key} has to wait: its saga is being confirmed or cancelled here`,
      })
    return rows[0].written
  }

  /**
   * Ends the branch's writes: constraint triggers that would write at the commit run before.
   * @returns tables with writes that cannot be undone
   */
  async end(tx: SqlExecutor, before: Written, alsoWrites: readonly string[]): Promise<readonly Strayed[]> {
    const { rows } = await this.#query<{ strayed: readonly Strayed[] }>(
      tx,
      `SELECT ${this.#quoted}.saga_undo_strayed($1::jsonb, $2::text[]) AS strayed`,
      [JSON.stringify(before), [...alsoWrites]],
    )
    return rows[0]?.strayed ?? []
  }

  /** Reads images, oldest first. */
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
   * Excludes other writes, confirmations and cancellations for this saga here until the end of the transaction. Call it before
   * locking anything else, because a branch that is still running may need any row. Sets the timeout for all locks of the
   * transaction.
   * @throws `saga.undo_not_yet` when another operation still runs after `lockTimeoutMs`
   */
  async alone(tx: SqlExecutor, owner: string, key: string, lockTimeoutMs: number): Promise<void> {
    try {
      await this.#query(tx, `SELECT set_config('lock_timeout', $2, true), pg_advisory_xact_lock(${lockOf('$1')})`, [
        owner,
        `${lockTimeoutMs}ms`,
      ])
    } catch (error) {
      if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error
      const problem = 'has to wait: a step of the same saga is still being done in this database. It is tried again'
      throw new UndoError('saga.undo_not_yet', { message: `${key} ${problem}` }, error)
    }
  }

  /** False: it is decided, or another kind of participant wrote it. */
  async isOpen(tx: SqlExecutor, branch: string): Promise<boolean> {
    const { rowCount } = await this.#query(tx, `SELECT FROM ${this.#quoted}.saga_undo WHERE branch = $1`, [branch])
    return rowCount > 0
  }

  /**
   * Returns the last branch of the same saga that is not undone and that later wrote to one of this branch's rows, or to a table
   * that a foreign key ties to one of its tables: undoing the branch would fail there, or change these rows, too. Dependent rows
   * were written after the branch's commit, so only writes after its last one count: of two branches that wrote at the same time,
   * only one is the later one.
   * @param isBlocked a constraint prevents undoing the branch, so any other row of its tables may be the obstacle
   */
  async laterBranch(tx: SqlExecutor, branch: string, isBlocked: boolean): Promise<BranchRow | undefined> {
    const { rows } = await this.#query<BranchRow>(
      tx,
      `SELECT o.branch, o.owner, o.saga_key AS key, o.reply_to AS "replyTo", o.birth FROM ${this.#quoted}.saga_undo u
         JOIN ${this.#quoted}.saga_undo o ON o.owner = u.owner AND o.branch <> u.branch
         JOIN ${this.#quoted}.saga_undo_image i ON i.branch = o.branch
       WHERE u.branch = $1 AND i.seq > (SELECT max(e.seq) FROM ${this.#quoted}.saga_undo_image e WHERE e.branch = u.branch)
         AND EXISTS (SELECT FROM ${this.#quoted}.saga_undo_image m WHERE m.branch = u.branch AND (
           m.relation = i.relation AND ($2::boolean OR m.old_key IN (i.old_key, i.new_key) OR m.new_key IN (i.old_key, i.new_key))
           OR (m.relation::oid, i.relation::oid) IN (
             SELECT f.conrelid, f.confrelid FROM pg_catalog.pg_constraint f WHERE f.contype = 'f'
             UNION SELECT f.confrelid, f.conrelid FROM pg_catalog.pg_constraint f WHERE f.contype = 'f')))
       ORDER BY i.seq DESC LIMIT 1`,
      [branch, isBlocked],
    )
    return rows[0]
  }

  /** Marks further writes as undoing branches of this saga, until `end`. @returns the settings for this */
  async undoing(tx: SqlExecutor, owner: string): Promise<Undoing> {
    const me = { schema: this.#quoted, by: 'undo', owner, branch: additionsOf(owner) }
    const { rows } = await this.#query<Undoing>(
      tx,
      `SELECT set_config('${SETTING}', $1, true), (${SUMS}) AS written, ARRAY(
         SELECT DISTINCT unnest(also_writes) FROM ${this.#quoted}.saga_undo WHERE owner = $2) AS "alsoWrites"`,
      [JSON.stringify(me), owner],
    )
    return rows[0] as Undoing
  }

  /** Returns rows that triggers have added to protected tables since `undoing`, last one first, and forgets them. */
  async takeAdded(tx: SqlExecutor, owner: string): Promise<readonly Added[]> {
    const { rows } = await this.#query<Added>(
      tx,
      `WITH gone AS (DELETE FROM ${this.#quoted}.saga_undo_image WHERE branch = $1 RETURNING seq, relation, new_key)
       SELECT relation::oid::text AS relation, new_key AS key FROM gone WHERE new_key IS NOT NULL ORDER BY seq DESC`,
      [additionsOf(owner)],
    )
    return rows
  }

  /**
   * Deletes the branch's images. With the last branch of its saga in this database its rows are released. @see alone @returns
   * false if there was none
   */
  async release(tx: SqlExecutor, branch: string): Promise<boolean> {
    const { rows } = await this.#query<{ found: boolean }>(
      tx,
      `SELECT ${this.#quoted}.saga_undo_release($1) AS found`,
      [branch],
    )
    return rows[0]?.found === true
  }
}

/** A row that a trigger added. */
export interface Added {
  /** The oid of its table. */
  readonly relation: string
  readonly key: string
}

/** Numbers of writes of a connection by the oids of tables; may include writes before this transaction. */
export type Written = Readonly<Record<string, number>>

export interface Undoing {
  readonly written: Written
  /** Unprotected tables that the saga's branches may write. */
  readonly alsoWrites: readonly string[]
}
