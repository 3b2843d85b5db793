/**
 * Steps that reserve first, and are confirmed or cancelled when the saga is decided: `.tcc` and its participants.
 *
 * @module
 */

export type { EachTccCommandOptions, EachTccStepOptions } from '../definition/kinds/each.ts'
export type { TccCancelContext, TccCommandOptions, TccConfirmContext, TccStepOptions } from '../definition/kinds/tcc.ts'
export {
  type TccHandlers,
  type TccParticipantContext,
  type TccParticipantOptions,
  tccParticipant,
} from './participant.ts'
