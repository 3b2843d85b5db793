/** The contract of `undo`. */
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { UndoDifference } from './errors.ts'

/** Where the tables of undo are. */
export interface UndoOptions {
  /** Where `migrateParticipant` put them: the participant's own. @default 'concordat' */
  readonly schema?: string | undefined
}

/** A table that is to be protected, and what is particular about it. */
export interface ProtectTable {
  /** Name in SQL: `accounts`, `shop.accounts`, `"My Table"`. */
  readonly table: string
  /**
   * Columns that are neither compared nor put back, such as one that a trigger of the table sets at each change. A row that
   * was deleted gets them back with all others. @default none
   */
  readonly ignored?: readonly string[] | undefined
  /** Columns whose values are in no error and no list. @default none */
  readonly hidden?: readonly string[] | undefined
}

/** A table that is protected, and whether it really is. */
export interface ProtectedTable {
  /** With its schema, as in SQL. */
  readonly table: string
  /** The columns that tell its rows apart. */
  readonly key: readonly string[]
  /** Rows that sagas hold: a row counts once for each of its unique keys that is held. */
  readonly held: number
  /** The problem with its remedy; `undefined`: none. */
  readonly problem?: string | undefined
}

/** Which branch: a step of one saga. A line of `undo.open()` is one. */
export interface UndoTarget {
  readonly saga: string
  readonly id: string
  readonly step: string
  /** The service of the coordinator, where two have a saga of this name and id. */
  readonly service?: string | undefined
  /** Tells the saga from an earlier one that had its id, where branches of both are open. */
  readonly birth?: string | undefined
}

/** A branch whose saga is not decided, as far as this database knows. */
export interface OpenUndo extends UndoTarget {
  readonly service: string
  readonly birth: string
  /** Epoch ms, server time: when it wrote. */
  readonly since: number
  /** Changes that would be undone. */
  readonly changes: number
  readonly tables: readonly string[]
}

/**
 * What becomes of rows that are not as the transaction left them: `keep` them as they are, or `restore` them to what they
 * were before it all the same. The other rows of the branch are put back in both cases. `accept`: what the branch did stays, as
 * if it had been confirmed; for a saga that was ended by hand before its confirmation came through.
 */
export type UndoChoice = 'keep' | 'restore' | 'accept'

/** How long to try. */
export interface UndoRetryOptions {
  /** In ms, from the first try; then the last error is thrown. @default 5 seconds */
  readonly timeoutMs?: number | undefined
  /** Aborted, it is not tried again. */
  readonly signal?: AbortSignal | undefined
}

/**
 * What goes with `undoParticipant`: protecting tables, reading what is committed, and what operators do.
 * @see docs/transactions/xa-and-undo.md, "Undo"
 */
export interface Undo {
  /**
   * Protects tables: from now on each change that an `undoParticipant` makes to them can be undone, and its rows are refused
   * to all other writers until its saga is decided. Harmless again, so it can be part of a migration or of a start. Needs the
   * right to create triggers on the tables. Waits for transactions that write to them: 2 seconds at a time, so that writers do
   * not queue behind it, and 30 in all.
   * A table that was renamed or moved is protected again by its new name; one that was restored from a dump needs nothing.
   * @throws `saga.undo_table` naming the table with a remedy, and then none of the tables is protected: no primary key, a
   * partition, row-level security that applies to the participant's role, a trigger that sets a column anew at each update and
   * that is not in `ignored`, others that wrote to it all the time, ...
   */
  protect(sql: SqlClient, tables: readonly (string | ProtectTable)[], options?: UndoOptions): Promise<void>
  /** Takes the protection away. @throws `saga.undo_table` while something of the table may still have to be undone */
  unprotect(sql: SqlClient, tables: readonly string[], options?: UndoOptions): Promise<void>
  /** All protected tables, by name, with what limits their protection: a rename, a policy, a trigger, unique values that are not held, ... */
  protected(sql: SqlClient, options?: UndoOptions): Promise<readonly ProtectedTable[]>
  /**
   * Rows as no undecided saga has made them: `SELECT ... FOR UPDATE` by primary key, refused if another saga holds one of the
   * keys. In the handler of an `undoParticipant` the rows of its own saga are seen as it left them. The rows stay locked to the
   * end of `tx`; a key without a row gives none.
   * @param keys values of the key, or objects by column where it has several columns
   * @throws `saga.undo_table` when it is not protected; what `isRowHeld` tells when another saga holds one: let the transaction fail
   * and try it again
   */
  lockRows<Row extends object = Record<string, unknown>>(
    tx: SqlTransaction,
    table: string,
    keys: readonly unknown[],
    options?: UndoOptions,
  ): Promise<readonly Row[]>
  /**
   * True of the database's error for a row that a saga holds: SQLSTATE 55P03 (`lock_not_available`) with the constraint
   * `concordat_undo`. Its transaction did nothing, and may be tried again.
   */
  isRowHeld(error: unknown): boolean
  /**
   * A transaction of a writer that belongs to no saga, made again while a saga holds one of its rows. Nothing is held while
   * it waits. @throws what the last try threw
   */
  retrying<T>(sql: SqlClient, work: (tx: SqlTransaction) => Promise<T>, options?: UndoRetryOptions): Promise<T>
  /** Branches that are not decided, oldest first, at most 1 000. */
  open(sql: SqlClient, options?: UndoOptions): Promise<readonly OpenUndo[]>
  /** Obstacles to undoing a branch: rows that differ from its result. Empty: none. @throws `saga.undo_not_found` */
  differences(sql: SqlClient, target: UndoTarget, options?: UndoOptions): Promise<readonly UndoDifference[]>
  /**
   * Ends a branch by an operator's decision, where cancelling or confirming it failed or its saga was ended without it, and frees its
   * rows. `keep` and `restore` undo it, with later steps of its saga that changed the same rows, or tables tied to theirs by a foreign
   * key; then `retry` the saga: its cancellation finds nothing left to do, and a confirmation that comes later fails. After `accept` it is the other way round.
   * @throws `saga.undo_not_found`
   */
  settle(sql: SqlClient, target: UndoTarget, choice: UndoChoice, options?: UndoOptions): Promise<void>
}
