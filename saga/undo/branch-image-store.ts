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

/** Holds in no key: control characters are refused in ids and names. */
const SEPARATOR = '\u001f'

/** A step of a saga: its images are its own. */
export function branchOf(step: StepOwner): string {
  return stepParameters(step).join(SEPARATOR)
}

/** A saga: its steps may change the rows of each other. */
export function ownerOf(command: Command): string {
  const [, birth] = stepParameters(command)
  return [command.saga, command.sagaId, birth].join(SEPARATOR)
}

/** Key for rows that triggers add while branches of a saga are undone: no step has such a key. */
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
   * What is written from here on in this transaction is of this branch.
   * @returns how much this connection has written to which tables before
   * @throws `saga.undo_not_yet` while a branch of the same saga is confirmed or cancelled: it does not wait, as its row of the barrier is
   * what that may be waiting for
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
   * What is written from here on belongs to no branch: constraint triggers that would write at the commit do so before.
   * @returns the tables that were written to and could not be undone
   */
  async end(tx: SqlExecutor, before: Written, alsoWrites: readonly string[]): Promise<readonly Strayed[]> {
    const { rows } = await this.#query<{ strayed: readonly Strayed[] }>(
      tx,
      `SELECT ${this.#quoted}.saga_undo_strayed($1::jsonb, $2::text[]) AS strayed`,
      [JSON.stringify(before), [...alsoWrites]],
    )
    return rows[0]?.strayed ?? []
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
   * @throws `saga.undo_not_yet` when another one was still at it after `lockTimeoutMs`
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

  /** False: it is decided, or another kind of participant did it. */
  async isOpen(tx: SqlExecutor, branch: string): Promise<boolean> {
    const { rowCount } = await this.#query(tx, `SELECT FROM ${this.#quoted}.saga_undo WHERE branch = $1`, [branch])
    return rowCount > 0
  }

  /**
   * The last branch of the same saga that is not undone, and that wrote after the branch to one of its rows or to a table that a foreign key
   * ties to one of its tables: undoing the branch would fail there, or take these rows along. What hangs on a branch was written after its
   * commit, so only writes after its last one count: of two branches that wrote at the same time, one alone is the later one.
   * @param isBlocked a constraint is against undoing the branch: then any other row of its tables may be in its way
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

  /** Marks later writes as undoing branches of this saga, until `end`. @returns the settings that this needs */
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

  /** Rows that triggers have added to protected tables since `undoing`, the last one first. Forgets them. */
  async takeAdded(tx: SqlExecutor, owner: string): Promise<readonly Added[]> {
    const { rows } = await this.#query<Added>(
      tx,
      `WITH gone AS (DELETE FROM ${this.#quoted}.saga_undo_image WHERE branch = $1 RETURNING seq, relation, new_key)
       SELECT relation::oid::text AS relation, new_key AS key FROM gone WHERE new_key IS NOT NULL ORDER BY seq DESC`,
      [additionsOf(owner)],
    )
    return rows
  }

  /** Forgets the branch. With the last one of its saga in this database its rows are free. @see alone @returns false: there is none */
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

/** How much a connection has written to which tables, by their oids; what it did before this transaction may be in it. */
export type Written = Readonly<Record<string, number>>

export interface Undoing {
  readonly written: Written
  /** Unprotected tables that the saga's branches may write. */
  readonly alsoWrites: readonly string[]
}
