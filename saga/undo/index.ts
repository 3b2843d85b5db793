/**
 * Participants of `.tcc` that commit at once: rows are put back from images when the saga turns back.
 *
 * @module
 */

export type { Undo } from './contract.ts'
export { UndoBranchNotFound, UndoConflict, UndoNotProtected, UndoTableRefused } from './errors.ts'
export type { UndoParticipantOptions } from './participant.ts'
export { undoParticipant } from './participant.ts'
export { undo } from './undo.ts'
