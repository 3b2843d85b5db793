/** Names of `outbox/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do

export type { RelayPublisher } from '../../../outbox/checked-publisher.ts'
export type { OutboxOptions } from '../../../outbox/outbox.ts'
export type { RelayOptions } from '../../../outbox/relay-options.ts'
export type { SendingTransaction } from '../../../outbox/transaction-with-send.ts'
