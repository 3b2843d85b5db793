/**
 * Participants of `.tcc` whose database keeps what they wrote prepared until the saga is decided.
 *
 * @module
 */

export {
  type XaContext,
  type XaHandler,
  type XaParticipantOptions,
  type XaResourceOptions,
  xaParticipant,
} from './participant.ts'
export type { GateState, PreparedTransaction, XaCall, XaPassage, XaResource } from './resource.ts'
