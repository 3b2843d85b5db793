/**
 * Participants of `.tcc` whose database keeps what they wrote prepared until the saga is decided.
 *
 * @module
 */

export type { XaParticipantOptions } from './participant.ts'
export { type XaContext, xaParticipant } from './participant.ts'
export type { XaCall, XaPassage, XaResource } from './resource.ts'
