/**
 * Participants of `.tcc` that commit at once: rows are put back from images when the saga turns back.
 *
 * @module
 */

export { UndoError } from './errors.ts'
export { type UndoParticipantOptions, undoParticipant } from './participant.ts'
export { undo } from './undo-api.ts'
export type { OpenUndo, Undo } from './undo-types.ts'
