/** Types of `undo`. */
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { UndoDifference } from './errors.ts'

/** Location of the tables of undo. */
export interface UndoOptions {
  /** Schema in which `migrateParticipant` created the participant's tables. @default 'concordat' */
  readonly schema?: string | undefined
}

/** A table to protect, with exceptions for some of its columns. */
export interface ProtectTable {
  /** Name in SQL: `accounts`, `shop.accounts`, `"My Table"`. */
  readonly table: string
  /**
   * Columns that are neither compared nor restored, such as a column that a trigger sets at each change. A deleted row is
   * restored with all its columns. @default none
   */
  readonly ignored?: readonly string[] | undefined
  /** Columns whose values never appear in errors and lists. @default none */
  readonly hidden?: readonly string[] | undefined
}

/** A protected table, and whether its protection is complete. */
export interface ProtectedTable {
  /** Name with the schema, as in SQL. */
  readonly table: string
  /** Columns of the key that identifies its rows. */
  readonly key: readonly string[]
  /** Rows that sagas hold. A row counts once for each of its unique keys that is held. */
  readonly held: number
  /** The problem with its remedy; `undefined`: none. */
  readonly problem?: string | undefined
}

/** A branch: a step of one saga. Lines of `undo.open()` are targets. */
export interface UndoTarget {
  readonly saga: string
  readonly id: string
  readonly step: string
  /** Service of the coordinator, needed when two services have a saga with this name and id. */
  readonly service?: string | undefined
  /** Distinguishes the saga from an earlier one with the same id, when both have open branches. */
  readonly birth?: string | undefined
}

/** A branch whose saga is undecided as far as this database knows. */
export interface OpenUndo extends UndoTarget {
  readonly service: string
  readonly birth: string
  /** Time of the write: epoch ms, server time. */
  readonly since: number
  /** Number of changes that undoing would revert. */
  readonly changes: number
  readonly tables: readonly string[]
}

/**
 * Treatment of rows that have changed since the transaction: `keep` leaves them as they are, `restore` overwrites them with their
 * state before the transaction. Both restore the other rows of the branch. `accept` keeps all changes of the branch, as if it had
 * been confirmed; use it for a saga that an operator ended before its confirmation arrived.
 */
export type UndoChoice = 'keep' | 'restore' | 'accept'

/** Time limit of retries. */
export interface UndoRetryOptions {
  /** Limit in ms, from the first try. After it the last error is thrown. @default 5 seconds */
  readonly timeoutMs?: number | undefined
  /** Aborting it ends the retries. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Companion of `undoParticipant`: protects tables, reads committed rows, and settles branches for operators.
 * @see docs/transactions/xa-and-undo.md, "Undo"
 */
export interface Undo {
  /**
   * Protects tables: from then on each change by an `undoParticipant` can be undone, and other writers cannot change its rows
   * until the saga is decided. Idempotent, so it can be part of a migration or of startup. Needs the right to create triggers on
   * the tables. Waits for transactions that write to them, for 2 seconds at a time so that writers do not queue behind it, and
   * for 30 seconds in total. After renaming or moving a table, protect it again under its new name; a table restored from a dump
   * needs nothing.
   * @throws `saga.undo_table` naming the table and the remedy, after which none of the tables is protected: no primary key, a
   * partition, row-level security that applies to the participant's role, a trigger that sets a column at each update and is not
   * in `ignored`, constant writes by other transactions, ...
   */
  protect(sql: SqlClient, tables: readonly (string | ProtectTable)[], options?: UndoOptions): Promise<void>
  /** Removes the protection. @throws `saga.undo_table` while a change of the table may still have to be undone */
  unprotect(sql: SqlClient, tables: readonly string[], options?: UndoOptions): Promise<void>
  /**
   * Lists all protected tables by name, with limits of their protection: a rename, a policy, a trigger, unique values that are
   * not held, ...
   */
  protected(sql: SqlClient, options?: UndoOptions): Promise<readonly ProtectedTable[]>
  /**
   * Locks rows that no undecided saga has changed: `SELECT ... FOR UPDATE` by primary key, refused if another saga holds one of
   * the keys. In the handler of an `undoParticipant`, rows of its own saga are returned as the saga left them. The rows stay
   * locked to the end of `tx`; a key without a row returns none.
   * @param keys values of the key, or objects by column where it has several columns
   * @throws `saga.undo_table` when the table is not protected; an error for which `isRowHeld` is true when another saga holds a
   * row: let the transaction fail and try it again
   */
  lockRows<Row extends object = Record<string, unknown>>(
    tx: SqlTransaction,
    table: string,
    keys: readonly unknown[],
    options?: UndoOptions,
  ): Promise<readonly Row[]>
  /**
   * Tells whether an error of the database is about a row that a saga holds: SQLSTATE 55P03 (`lock_not_available`) with the
   * constraint `concordat_undo`. The transaction had no effect and may be tried again.
   */
  isRowHeld(error: unknown): boolean
  /**
   * Runs a transaction of a writer outside of sagas, and repeats it while a saga holds one of its rows. It holds no connection
   * between tries. @throws the error of the last try
   */
  retrying<T>(sql: SqlClient, work: (tx: SqlTransaction) => Promise<T>, options?: UndoRetryOptions): Promise<T>
  /** Lists undecided branches, oldest first, at most 1 000. */
  open(sql: SqlClient, options?: UndoOptions): Promise<readonly OpenUndo[]>
  /** Lists obstacles to undoing a branch: rows that have changed since. Empty: none. @throws `saga.undo_not_found` */
  differences(sql: SqlClient, target: UndoTarget, options?: UndoOptions): Promise<readonly UndoDifference[]>
  /**
   * Ends a branch by decision of an operator, where cancelling or confirming it failed, or its saga was ended without it, and
   * releases its rows. `keep` and `restore` undo it together with later steps of its saga that changed the same rows, or tables
   * tied to them by a foreign key; `retry` the saga then: its cancellation succeeds without a change, and a later confirmation
   * fails. After `accept` the confirmation succeeds and a cancellation fails.
   * @throws `saga.undo_not_found`
   */
  settle(sql: SqlClient, target: UndoTarget, choice: UndoChoice, options?: UndoOptions): Promise<void>
}
