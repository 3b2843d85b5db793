/** Branches of undo for an operator: held rows, obstacles to undoing, and a decision about a branch. */
import type { SqlClient } from 'concordat/core'
import { requireNote } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import { undo } from 'concordat/saga/undo'
import type { OpenUndo, OperatorTrail, UndoChoice, UndoDifference, UndoTarget } from './engine-types.ts'

/**
 * Lists and settles branches of `undoParticipant` in this database: that of the participant, which may differ from the
 * coordinator's.
 */
export interface UndoAdmin {
  /** Undecided branches, oldest first, at most 1,000. @throws `core.tables_missing` */
  open(): Promise<readonly OpenUndo[]>
  /** Rows that changed after the branch; empty: nothing prevents its undoing. @throws `saga.undo_not_found` */
  differences(target: UndoTarget): Promise<readonly UndoDifference[]>
  /** Same as `undo.settle`, recorded in the audit. @throws `saga.undo_not_found`; OperatorOutcomeNotKept */
  settle(target: UndoTarget, choice: UndoChoice, note: OperatorNote): Promise<void>
}

export class SqlUndoAdmin implements UndoAdmin {
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #trail: OperatorTrail

  constructor(sql: SqlClient, schema: string, trail: OperatorTrail) {
    this.#sql = sql
    this.#schema = schema
    this.#trail = trail
  }

  async open(): Promise<readonly OpenUndo[]> {
    return undo.open(this.#sql, { schema: this.#schema })
  }

  differences(target: UndoTarget): Promise<readonly UndoDifference[]> {
    return undo.differences(this.#sql, target, { schema: this.#schema })
  }

  async settle(target: UndoTarget, choice: UndoChoice, given: OperatorNote): Promise<void> {
    const { by, reason } = requireNote('undo.settle', given)
    const { saga, id, step } = target
    const deed = { part: 'undo', action: choice, target: `${saga}/${id}/${step}`, note: { by, reason } } as const
    const work = (): Promise<void> => undo.settle(this.#sql, target, choice, { schema: this.#schema })
    await this.#trail.around(deed, work, () => 'done')
  }
}
