/**
 * Typed channels over a broker: declare what a service does with its channels, give the declarations to `createBinder`.
 *
 * Guarantees, on every transport alike: a message is settled after its handler resolved and its outputs were confirmed;
 * messages of one key are handled one at a time and in order; what fails for good goes to a dead letter channel.
 * Does not guarantee: that a handler is called once. A message may come again, with the same id; give the binding an
 * inbox (`concordat/outbox`) and its effect happens once.
 */
export type { AmbientHeaders } from './ambient-headers.ts'
export {
  type BatchBinding,
  type BatchContext,
  type BatchHandler,
  type BatchInboxOptions,
  type BatchItem,
  type BatchOutcome,
  type BatchResult,
  type BatchSinkOptions,
  type BatchTransactionContext,
  failed,
  ok,
  processorBatch,
  produced,
  sinkBatch,
} from './batch.ts'
export { type Binder, type BinderOptions, createBinder } from './binder.ts'
export {
  type Binding,
  type ConsumerBinding,
  type ConsumerOptions,
  type Handler,
  type HandlerContext,
  type InboxOptions,
  type ProcessorBinding,
  processor,
  type SinkBinding,
  type SourceBinding,
  type SourceContext,
  type SourceOptions,
  sink,
  source,
  type TransactionContext,
} from './binding.ts'
export type { KnownNames } from './binding-name.ts'
export { type Channel, type ChannelOptions, channelAt, DEFAULT_PARTITIONS, defineChannel } from './channel.ts'
export { type CombineTransportsOptions, combineTransports } from './combine-transports.ts'
export type { CircuitState } from './consuming/circuit-breaker.ts'
export { deadLetterName } from './consuming/dead-letter.ts'
export { MAX_DELAY_MS } from './delay.ts'
export {
  BatchOutcomesInvalid,
  BinderClosed,
  BinderNotReady,
  RedriveStalled,
  SendError,
  TerminalError,
  TransportError,
  type TransportErrorKind,
} from './errors.ts'
export type { BatchLimits, CircuitBreakerOptions, RateLimitOptions } from './flow-options.ts'
export type { Inbox, InboxMessage } from './inbox.ts'
export { type EncodedMessage, type Headers, type HeaderValue, MAX_HEADER_BYTES, MAX_HEADERS } from './message.ts'
export type { BatchMiddleware, BatchMiddlewareHandler, BatchMiddlewareTarget } from './middleware/batch-middleware.ts'
export { carryHeaders } from './middleware/carry-headers.ts'
export { ignoreErrors } from './middleware/ignore-errors.ts'
export {
  type Middleware,
  type MiddlewareHandler,
  type MiddlewareTarget,
  withContext,
} from './middleware/middleware.ts'
export { HandlerTimeout, timeout } from './middleware/timeout.ts'
export { type Addressed, type OutputOptions, type Outputs, type Result, several, to } from './outputs.ts'
export { murmur2, partitionOf } from './partition.ts'
export { PayloadVersionError, type Upcast, type Upcasts, VERSION_HEADER } from './payload-version.ts'
export {
  type PollableInboxOptions,
  type PollableOptions,
  type PollBinding,
  type PollOptions,
  pollable,
} from './pollable.ts'
export type { ProvisionMode } from './provision-mode.ts'
export type { DeadLetter, LetterError } from './redrive/letter.ts'
export {
  type RedriveCounts,
  type RedriveHost,
  type RedriveOptions,
  type RedriveReport,
  redrive,
} from './redrive/redrive.ts'
export { RequestFailed, RequestRefused, RequestTimeout } from './requests/replies.ts'
export type { RequestOptions } from './requests/requests.ts'
export { responder } from './requests/responder.ts'
export { type InboxRouteOptions, into, NoRoute, type Route, type RouteInto, type RouteOptions, route } from './route.ts'
export { type BatchOptions, decodePayload, encodeMessage, type SendOptions } from './sending/encode.ts'
export type { BinderHealth, BindingControl, BindingState, BindingStatus } from './status.ts'
export type { PlannedBinding, PlannedDestination, Topology } from './topology.ts'
export type {
  DestinationSpec,
  Feature,
  GroupPlace,
  Hindrance,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportDelivery,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from './transport.ts'
