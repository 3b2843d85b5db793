/**
 * Messages that commit with the data: outbox, relay, inbox.
 *
 * @module
 */

export type { Inbox } from '../binder/bindings/inbox.ts'
export { OutboxError, type OutboxErrors } from './errors.ts'
export { createInbox, type InboxOptions, type InboxOutbox, type SqlInbox } from './inbox.ts'
export { createOutbox, type Outbox, type OutboxOptions } from './outbox.ts'
export type { DropReason, HeldMessage, ParkedMessage, RetryReason } from './parked.ts'
export type { RelayPublisher } from './publisher.ts'
export { createRelay, type Relay, type RelayHealth } from './relay.ts'
export type { RelayOptions } from './relay-options.ts'
export type { SendingTransaction, TransactionOutbox } from './sending-transaction.ts'
export type { OutboxStats } from './stats.ts'
