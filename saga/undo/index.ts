/**
 * Participants of `.tcc` that commit at once: rows are put back from images when the saga turns back.
 *
 * @module
 */

export type {
  OpenUndo,
  ProtectedTable,
  ProtectTable,
  Undo,
  UndoChoice,
  UndoOptions,
  UndoRetryOptions,
  UndoTarget,
} from './contract.ts'
export { type UndoDifference, UndoError, type UndoErrors } from './errors.ts'
export { type UndoHandler, type UndoParticipantOptions, undoParticipant } from './participant.ts'
export { undo } from './undo.ts'
