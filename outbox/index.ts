/**
 * Messages that commit with the data: outbox, relay, inbox.
 *
 * @module
 */

export { OutboxError } from './errors.ts'
export { createInbox, type SqlInbox } from './inbox.ts'
export { createOutbox, type Outbox } from './outbox.ts'
export type { ParkedMessage } from './parked-messages.ts'
export { createRelay, type Relay, type RelayHealth } from './relay.ts'
export type { OutboxStats } from './stats.ts'
