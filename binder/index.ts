/**
 * Typed channels over a broker: declare what a service does with its channels, give the declarations to `createBinder`.
 *
 * Guarantees, on every transport alike: a message is settled after its handler resolved and its outputs were confirmed;
 * messages of one key are handled one at a time and in order; what fails for good goes to a dead letter channel.
 * Does not guarantee: that a handler is called once. A message may come again, with the same id; give the binding an
 * inbox (`concordat/outbox`) and its effect happens once.
 */
export type { AmbientHeaders } from './ambient-headers.ts'
export { type Binder, type BinderOptions, createBinder } from './binder.ts'
export {
  type Binding,
  type ConsumerOptions,
  type Handler,
  type HandlerContext,
  type InboxOptions,
  type ProcessorBinding,
  processor,
  type Result,
  type SinkBinding,
  type SourceBinding,
  type SourceContext,
  type SourceOptions,
  several,
  sink,
  source,
  type TransactionContext,
} from './binding.ts'
export { type Channel, type ChannelOptions, DEFAULT_PARTITIONS, defineChannel } from './channel.ts'
export { deadLetterName } from './dead-letter.ts'
export { decodePayload, encodeMessage, type SendOptions } from './encode.ts'
export {
  BinderClosed,
  BinderNotReady,
  RedriveStalled,
  SendError,
  TerminalError,
  TransportError,
  type TransportErrorKind,
} from './errors.ts'
export type { Inbox, InboxMessage } from './inbox.ts'
export { type EncodedMessage, type Headers, type HeaderValue, MAX_HEADER_BYTES, MAX_HEADERS } from './message.ts'
export type { DeadLetter, LetterError } from './letter.ts'
export { murmur2, partitionOf } from './partition.ts'
export { type RedriveCounts, type RedriveHost, type RedriveOptions, type RedriveReport, redrive } from './redrive.ts'
export type { BinderHealth, BindingControl, BindingState, BindingStatus } from './status.ts'
export type {
  DestinationSpec,
  Feature,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  Transport,
  TransportDelivery,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from './transport.ts'
