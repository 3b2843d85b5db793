/**
 * Messages that commit with the data: outbox, relay, inbox.
 *
 * @module
 */

export { OutboxError } from './errors.ts'
export { createInbox, type SqlInbox } from './inbox.ts'
export { createOutbox, type Outbox } from './outbox.ts'
export { createRelay, type Relay } from './relay.ts'
