/**
 * Participants of `.tcc` that commit at once: if the saga is undone, rows are restored from images.
 *
 * @module
 */

export { UndoError } from './errors.ts'
export { type UndoParticipantOptions, undoParticipant } from './participant.ts'
export { undo } from './undo-api.ts'
export type { OpenUndo, Undo } from './undo-types.ts'
