/** Errors of undo. Match on `code`. */
import { type ErrorClass, type ErrorOf, errorClass } from '../../core/define-error-class.ts'
import { causesOf, hasCode } from '../../core/errors.ts'
import { ROW_HELD, ROW_HELD_CONSTRAINT } from './tables.ts'

/** A table with a write that cannot be undone, and the reason. */
export interface Strayed {
  readonly table: string
  /**
   * `ruled`: row-level security hides rows from the role that wrote. `unwatched`: the handler disabled the recording of its
   * changes.
   */
  readonly why: 'unprotected' | 'emptied' | 'ruled' | 'unwatched'
}

/** Remedy for a role that does not see all rows. */
export const RULED_REMEDY =
  'give the participant a role with BYPASSRLS, or a policy FOR ALL TO that role USING (true), or name the table in `alsoWrites` if ' +
  'it may stay as it is'

const PROBLEMS: Readonly<Record<Strayed['why'], (tables: string) => string>> = {
  unprotected: (tables) =>
    `wrote to ${tables}, which undo does not protect: call undo.protect(sql, [...]) in a migration, ` +
    'or name what may stay as it is (such as an audit table) in `alsoWrites` of undoParticipant()',
  emptied: (tables) =>
    `emptied or rewrote ${tables} by TRUNCATE or ALTER TABLE, which cannot be undone: delete the rows, or name what may stay as it ` +
    'is in `alsoWrites` of undoParticipant()',
  ruled: (tables) =>
    `wrote to ${tables}, where row-level security applies to its role, which may then not see or not write the rows to be put ` +
    `back: ${RULED_REMEDY}`,
  unwatched: (tables) =>
    `wrote to ${tables} and turned off what writes its changes down (RESET ALL, session_replication_role, ALTER TABLE ... DISABLE TRIGGER): ` +
    'leave these out of the handler, or name what may stay as it is in `alsoWrites` of undoParticipant()',
}

/** A column, or a row, that differs from the transaction's result. */
export interface UndoDifference {
  readonly table: string
  /** The primary key: each column's text by its name. Empty: the table as a whole. */
  readonly key: Readonly<Record<string, string | null>>
  /** Absent: the whole row exists or is missing. */
  readonly column?: string | undefined
  /** Value that the transaction wrote; `(hidden)` in a column that `undo.protect` hides. */
  readonly expected: string
  readonly found: string
}

/** Fields of an `UndoError`, by code. */
export interface UndoErrors {
  /** `undo.protect` or `undo.unprotect` cannot handle a table. Nothing was changed. `problem` has the remedy. */
  'saga.undo_table': { call: 'protect' | 'unprotect' | 'lockRows'; table: string; problem: string }
  /** The handler of an `undoParticipant` made writes that cannot be undone. All its writes were rolled back. */
  'saga.undo_not_protected': { key: string; tables: readonly string[]; problem: string }
  /** No branch of this saga is open here: it is decided, or it wrote to another database. */
  'saga.undo_not_found': { branch: string; problem?: string }
  /** Rows have changed since the transaction, so it is not undone, and nothing was changed. An operator has to decide. */
  'saga.undo_conflict': { key: string; differences: readonly UndoDifference[] }
  /** Another step of the same saga is being executed, confirmed or cancelled in this database, and has to end first. */
  'saga.undo_not_yet': { message: string }
  /** Another kind of participant made the reservation, so this participant cannot confirm or cancel it. */
  'saga.wrong_participant': { key: string }
}

/** Error of undo. Its fields depend on its `code`: see `UndoErrors`. */
export type UndoError<Code extends keyof UndoErrors = keyof UndoErrors> = ErrorOf<UndoErrors, Code>

/** Error of undo. Its fields depend on its `code`: see `UndoErrors`. */
export const UndoError: ErrorClass<UndoErrors> = errorClass<UndoErrors>(
  'UndoError',
  {
    'saga.undo_table': ({ call, table, problem }) => `undo.${call}: ${table} ${problem}`,
    'saga.undo_not_protected': ({ key, problem }) => `${key} ${problem}`,
    'saga.undo_not_found': ({
      branch,
      problem = 'has nothing here that could be undone: undo.open() lists what there is',
    }) => `${branch} ${problem}`,
    'saga.undo_conflict': ({ key, differences }) =>
      `${key} is not undone, its tables are not as it left them: ${describeDifferences(differences)}. ` +
      'Put the rows right, or call undo.settle(); then retry',
    'saga.undo_not_yet': ({ message }) => message,
    'saga.wrong_participant': ({ key }) =>
      `${key} was tried by another kind of participant (xaParticipant, tccParticipant), or its row of saga_undo was deleted: ` +
      'bring that participant back, or look at what it did; then retry',
  },
  ['saga.undo_not_yet'],
)

/** @param key of the participant's step */
export function notProtected(key: string, strayed: readonly Strayed[]): UndoError<'saga.undo_not_protected'> {
  const all = (['unprotected', 'emptied', 'ruled', 'unwatched'] as const).flatMap((why) => {
    const tables = strayed.flatMap((each) => (each.why === why ? [each.table] : []))
    return tables.length === 0 ? [] : [PROBLEMS[why](tables.join(', '))]
  })
  const tables = strayed.map(({ table }) => table)
  return new UndoError('saga.undo_not_protected', { key, tables, problem: all.join('; it ') })
}

const MOST = 3
const LONGEST = 60

function describeDifferences(differences: readonly UndoDifference[]): string {
  const shown = differences.slice(0, MOST).map(({ table, key, column, expected, found }) => {
    const names = Object.entries(key).map(([name, value]) => `${name}=${short(value ?? 'null')}`)
    const of = [table, ...names].join(' ')
    return `${of}${column === undefined ? '' : ` ${column}`}: expected ${short(expected)}, found ${short(found)}`
  })
  const more = differences.length - shown.length
  return `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}

function short(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text
}

/** True: the transaction failed only because a saga holds a row. */
export function isRowHeld(error: unknown): boolean {
  for (const each of causesOf(error)) {
    if (hasCode(each, ROW_HELD) && 'constraint' in each && each.constraint === ROW_HELD_CONSTRAINT) return true
  }
  return false
}
