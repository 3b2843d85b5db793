/**
 * Typed channels over a broker: declare what a service does with its channels, and pass the declarations to `createBinder`.
 *
 * Guarantees on every transport: a message is settled after its handler resolved and its outputs were confirmed; messages with
 * one key are handled one at a time and in order; a message that fails permanently goes to a dead letter channel. Does not
 * guarantee that a handler is called once: a message may be redelivered with the same id. Declare the binding with `once: true`
 * to apply its effect once.
 *
 * @module
 */

export { createBinder } from './assembly/create-binder.ts'
export type { Topology } from './assembly/topology.ts'
export type { Binder, BinderOptions } from './binder.ts'
export { failed, ok, processorBatch, produced, sinkBatch } from './bindings/batch-bindings.ts'
export type {
  BatchBinding,
  Binding,
  ConsumerBinding,
  ConsumerOptions,
  InboxConsumerOptions,
  OnceConsumerOptions,
  PollBinding,
  ProcessorBinding,
  SinkBinding,
  SourceBinding,
} from './bindings/declarations.ts'
export { into, route } from './bindings/handler-routes.ts'
export type {
  BatchContext,
  BatchItem,
  BatchOutcome,
  BatchTransactionContext,
  Handler,
  HandlerContext,
  SourceContext,
  TransactionContext,
} from './bindings/handler-types.ts'
export type { Inbox } from './bindings/inbox.ts'
export { type Addressed, type Outputs, type Result, several, to } from './bindings/outputs.ts'
export { pollable } from './bindings/pollable.ts'
export { processor, sink, source } from './bindings/sink-processor-source.ts'
export { type Channel, channelAt, defineChannel } from './channel/channel.ts'
export { deadLetterName } from './channel/dead-letter-name.ts'
export type { EncodedMessage, Headers } from './channel/message.ts'
export { decodePayload, encodeMessage, type SendOptions } from './channel/message-codec.ts'
export { partitionOf } from './channel/partition.ts'
export { VERSION_HEADER } from './channel/payload-version.ts'
export {
  BinderError,
  RequestRefused,
  SendError,
  TerminalError,
  TransportError,
} from './errors.ts'
export type { BatchMiddleware } from './middleware/batch-middleware.ts'
export { carryHeaders } from './middleware/carry-headers.ts'
export { ignoreErrors } from './middleware/ignore-errors.ts'
export { type Middleware, withContext } from './middleware/middleware.ts'
export { timeout } from './middleware/timeout.ts'
export type { DeadLetter } from './redrive/letter.ts'
export type { RedriveReport } from './redrive/redrive.ts'
export { redrive } from './redrive/redrive-run.ts'
export { responder } from './requests/responder.ts'
export type { BinderHealth, BindingControl, BindingStatus } from './status.ts'
export { combineTransports } from './transport/combine-transports.ts'
