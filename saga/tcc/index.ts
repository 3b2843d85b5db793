/**
 * Steps that reserve first, and are confirmed or cancelled when the saga is decided: `.tcc` and its participants.
 *
 * @module
 */

export type { TccCancelContext, TccConfirmContext } from '../definition/kinds/tcc.ts'
export { type TccHandlers, type TccParticipantContext, tccParticipant } from './participant.ts'
