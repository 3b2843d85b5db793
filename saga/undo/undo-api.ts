/** `undo` with checked arguments. */
import { invalidOption, requireText } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { DEFAULT_SCHEMA, requireSqlClient } from '../../core/sql.ts'
import { isRowHeld } from './errors.ts'
import { retrying } from './held-row-retries.ts'
import { lockRows } from './lock-rows.ts'
import { Protection } from './protect.ts'
import { differencesIn, openBranches, settle } from './undecided-branch-operations.ts'
import type { OpenUndo, ProtectTable, Undo, UndoChoice, UndoOptions, UndoTarget } from './undo-types.ts'

const CHOICES: readonly UndoChoice[] = ['keep', 'restore', 'accept']
const OPTIONS = optionNames<UndoOptions>({ schema: true })
const TABLE = optionNames<ProtectTable>({ table: true, ignored: true, hidden: true })
/** Names of a target. A line of `undo.open()` is a target, too. */
const TARGET = optionNames<OpenUndo>({
  saga: true,
  id: true,
  step: true,
  service: true,
  birth: true,
  since: true,
  changes: true,
  tables: true,
})

/** Protects tables for `undoParticipant`, reads what is committed in them, and settles what cannot be undone. */
export const undo: Undo = Object.freeze({
  async protect(sql, tables, options) {
    const schema = checked('undo.protect', sql, options)
    await new Protection(schema).add(
      sql,
      listOf('undo.protect', tables).map((table) => protectTable(table)),
    )
  },
  async unprotect(sql, tables, options) {
    const schema = checked('undo.unprotect', sql, options)
    await new Protection(schema).remove(
      sql,
      listOf('undo.unprotect', tables).map((table) => requireText('undo.unprotect.tables', table)),
    )
  },
  async protected(sql, options) {
    return new Protection(checked('undo.protected', sql, options)).list(sql)
  },
  async lockRows(tx, table, keys, options = {}) {
    refuseUnknown('undo.lockRows', options, OPTIONS)
    requireText('undo.lockRows.table', table)
    return lockRows(tx, table, listOf('undo.lockRows', keys), options.schema ?? DEFAULT_SCHEMA)
  },
  isRowHeld,
  retrying,
  async open(sql, options) {
    return openBranches(sql, checked('undo.open', sql, options))
  },
  async differences(sql, target, options) {
    const schema = checked('undo.differences', sql, options)
    return differencesIn(sql, targetOf('undo.differences', target), schema)
  },
  async settle(sql, target, choice, options) {
    const schema = checked('undo.settle', sql, options)
    if (!CHOICES.includes(choice)) throw invalidOption('undo.settle', choice, "'keep', 'restore' or 'accept'")
    await settle(sql, targetOf('undo.settle', target), choice, schema)
  },
} satisfies Undo)

function checked(path: string, sql: unknown, options: UndoOptions = {}): string {
  requireSqlClient(path, sql)
  refuseUnknown(path, options, OPTIONS)
  return options.schema ?? DEFAULT_SCHEMA
}

function listOf<T>(path: string, values: readonly T[]): readonly T[] {
  if (!Array.isArray(values)) throw invalidOption(path, values, 'an array')
  return values
}

function protectTable(given: string | ProtectTable): ProtectTable {
  const table = typeof given === 'string' ? { table: given } : given
  refuseUnknown('undo.protect.tables', table, TABLE)
  requireText('undo.protect.tables', table.table)
  return table
}

function targetOf(path: string, target: UndoTarget): UndoTarget {
  refuseUnknown(path, target, TARGET)
  for (const name of ['saga', 'id', 'step'] as const) requireText(`${path}.${name}`, target[name])
  return target
}
