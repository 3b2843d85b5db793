/** The pure parts inside of the bus that are tested on their own. Not public: hence not by package name. */
// oxlint-disable no-restricted-imports -- the one file of these tests that reaches inside
export type { EventEnvelope, PresenceEnvelope } from '../../bus/envelope.ts'
export { parseEvent } from '../../bus/envelope.ts'
export { decodeOutcome, encodeOutcome, failedWith } from '../../bus/outcome.ts'
export { Roster } from '../../bus/roster.ts'
export { SeenEvents } from '../../bus/seen.ts'
export { canonicalForm, Signer } from '../../bus/signature.ts'
