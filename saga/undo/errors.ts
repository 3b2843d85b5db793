/** Errors of undo. Match on `code`. */
import { ConcordatError, causesOf, hasCode } from '../../core/errors.ts'
import { ROW_HELD, ROW_HELD_CONSTRAINT } from './tables.ts'

/** A table that `undo.protect` or `undo.unprotect` cannot do this with. Nothing was changed. */
export class UndoTableRefused extends ConcordatError {
  readonly code = 'saga.undo_table' as const
  readonly retryable = false as const
  readonly table: string

  /** @param problem with the remedy */
  constructor(call: 'protect' | 'unprotect' | 'lockRows', table: string, problem: string, options?: ErrorOptions) {
    super(`undo.${call}: ${table} ${problem}`, options)
    this.table = table
  }
}

/** A table that was written to, and why that could not be undone. */
export interface Strayed {
  readonly table: string
  /**
   * `ruled`: row-level security keeps rows of it from the role that wrote. `unwatched`: the handler turned off what writes its
   * changes down.
   */
  readonly why: 'unprotected' | 'emptied' | 'ruled' | 'unwatched'
}

/** Remedy for a role that does not see all rows. */
export const RULED_REMEDY =
  'give the participant a role with BYPASSRLS, or a policy FOR ALL TO that role USING (true), or name the table in `alsoWrites` if ' +
  'it may stay as it is'

/** The handler of an `undoParticipant` wrote what could not be undone. All of it was rolled back. */
export class UndoNotProtected extends ConcordatError {
  readonly code = 'saga.undo_not_protected' as const
  readonly retryable = false as const
  readonly tables: readonly string[]

  constructor(key: string, strayed: readonly Strayed[]) {
    const all = (['unprotected', 'emptied', 'ruled', 'unwatched'] as const).flatMap((why) => {
      const tables = strayed.flatMap((each) => (each.why === why ? [each.table] : []))
      return tables.length === 0 ? [] : [PROBLEMS[why](tables.join(', '))]
    })
    super(`${key} ${all.join('; it ')}`)
    this.tables = strayed.map(({ table }) => table)
  }
}

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

/** No branch of this saga waits here: it is decided, or it wrote to another database. */
export class UndoBranchNotFound extends ConcordatError {
  readonly code = 'saga.undo_not_found' as const
  readonly retryable = false as const

  constructor(branch: string, problem = 'has nothing here that could be undone: undo.open() lists what there is') {
    super(`${branch} ${problem}`)
  }
}

/** A column, or a row, that differs from the transaction's result. */
export interface UndoDifference {
  readonly table: string
  /** The primary key: each column's text by its name. Empty: the table as a whole. */
  readonly key: Readonly<Record<string, string | null>>
  /** Absent: the row as a whole is there or is not. */
  readonly column?: string | undefined
  /** Value that the transaction left; `(hidden)` in a column that `undo.protect` hides. */
  readonly expected: string
  readonly found: string
}

/** Rows are not as the transaction left them, so it is not undone: nothing was changed. An operator decides. */
export class UndoConflict extends ConcordatError {
  readonly code = 'saga.undo_conflict' as const
  readonly retryable = false as const
  readonly differences: readonly UndoDifference[]

  constructor(key: string, differences: readonly UndoDifference[]) {
    super(
      `${key} is not undone, its tables are not as it left them: ${describeDifferences(differences)}. ` +
        'Put the rows right, or call undo.settle(); then retry',
    )
    this.differences = differences
  }
}

/** Another step of the same saga is being done, confirmed or cancelled in this database: that has to end before. */
export class UndoNotYet extends ConcordatError {
  readonly code = 'saga.undo_not_yet' as const
  readonly retryable = true as const
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

/** True: the transaction failed for nothing but a row that a saga holds. */
export function isRowHeld(error: unknown): boolean {
  for (const each of causesOf(error)) {
    if (hasCode(each, ROW_HELD) && 'constraint' in each && each.constraint === ROW_HELD_CONSTRAINT) return true
  }
  return false
}
