/**
 * Typed channels over a broker: declare what a service does with its channels, give the declarations to `createBinder`.
 *
 * Guarantees, on every transport alike: a message is settled after its handler resolved and its outputs were confirmed; messages of one key
 * are handled one at a time and in order; a message that fails permanently goes to a dead letter channel. Does not guarantee: that a handler
 * is called once. A message may come again, with the same id; give the binding an inbox (`concordat/outbox`) and its effect happens once.
 *
 * @module
 */

export type { PlannedBinding, PlannedDestination, Topology } from './assembly/topology.ts'
export { createBinder } from './assembly/transport-binder.ts'
export type { Binder, BinderOptions } from './binder.ts'
export { failed, ok, processorBatch, produced, sinkBatch } from './bindings/batch.ts'
export { processor, sink, source } from './bindings/binding.ts'
export type { KnownNames } from './bindings/binding-name.ts'
export type {
  BatchBinding,
  BatchInboxOptions,
  BatchSinkOptions,
  Binding,
  ConsumerBinding,
  ConsumerOptions,
  InboxConsumerOptions,
  PollableInboxOptions,
  PollableOptions,
  PollBinding,
  ProcessorBinding,
  SettlingConsumerOptions,
  SinkBinding,
  SourceBinding,
  SourceOptions,
} from './bindings/declarations.ts'
export type { BatchLimits, CircuitBreakerOptions, RateLimitOptions } from './bindings/flow-options.ts'
export type {
  BatchContext,
  BatchHandler,
  BatchItem,
  BatchOutcome,
  BatchResult,
  BatchTransactionContext,
  Handler,
  HandlerContext,
  SourceContext,
  TransactionContext,
} from './bindings/handler-contexts.ts'
export type { Inbox, InboxMessage } from './bindings/inbox.ts'
export { type Addressed, type OutputOptions, type Outputs, type Result, several, to } from './bindings/outputs.ts'
export { type PollOptions, pollable } from './bindings/pollable.ts'
export { type InboxRouteOptions, into, type Route, type RouteInto, type RouteOptions, route } from './bindings/route.ts'
export { type Channel, type ChannelOptions, channelAt, defineChannel } from './channel/channel.ts'
export { MAX_DELAY_MS } from './channel/delay.ts'
export { type BatchOptions, decodePayload, encodeMessage, type SendOptions } from './channel/encode.ts'
export { deadLetterName } from './channel/letter-name.ts'
export {
  type EncodedMessage,
  type Headers,
  type HeaderValue,
  MAX_HEADER_BYTES,
  MAX_HEADERS,
} from './channel/message.ts'
export { murmur2, partitionOf } from './channel/partition.ts'
export { type Upcast, type Upcasts, VERSION_HEADER } from './channel/payload-version.ts'
export type { CircuitState } from './consuming/pace/circuit-breaker.ts'
export {
  BinderError,
  type BinderErrors,
  SendError,
  TerminalError,
  TransportError,
  type TransportErrorKind,
} from './errors.ts'
export type { BatchMiddleware, BatchMiddlewareHandler, BatchMiddlewareTarget } from './middleware/batch-middleware.ts'
export { carryHeaders } from './middleware/carry-headers.ts'
export { ignoreErrors } from './middleware/ignore-errors.ts'
export {
  type Middleware,
  type MiddlewareHandler,
  type MiddlewareTarget,
  withContext,
} from './middleware/middleware.ts'
export { timeout } from './middleware/timeout.ts'
export type { DeadLetter, DeadLetterError } from './redrive/letter.ts'
export type { RedriveAfter, RedriveCounts, RedriveHost, RedriveOptions, RedriveReport } from './redrive/redrive.ts'
export { redrive } from './redrive/redrive-run.ts'
export { RequestRefused } from './requests/replies.ts'
export type { RequestOptions } from './requests/requests.ts'
export { responder } from './requests/responder.ts'
export type { AmbientHeaders } from './sending/ambient-headers.ts'
export type { BinderHealth, BindingControl, BindingState, BindingStatus } from './status.ts'
export { type CombineTransportsOptions, combineTransports } from './transport/combine-transports.ts'
export type { ProvisionMode } from './transport/provision-mode.ts'
