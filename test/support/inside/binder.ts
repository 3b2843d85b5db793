/** Names of `binder/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do

export type { CircuitBreakerOptions } from '../../../binder/bindings/batch-rate-breaker-options.ts'
export type { KnownNames } from '../../../binder/bindings/binding-name-types.ts'
export type { BatchSinkOptions, PollableOptions, SourceOptions } from '../../../binder/bindings/declarations.ts'
export type { BatchHandler } from '../../../binder/bindings/handler-types.ts'
export type { InboxMessage } from '../../../binder/bindings/inbox.ts'
export { MAX_DELAY_MS } from '../../../binder/channel/delay.ts'
export { type HeaderValue, MAX_HEADER_BYTES, MAX_HEADERS } from '../../../binder/channel/message.ts'
export { murmur2 } from '../../../binder/channel/partition.ts'
export type { TransportErrorKind } from '../../../binder/errors.ts'
export { groupIdOf } from '../../../binder/kafka/group/group-id-and-start-at.ts'
export { commitPositions } from '../../../binder/kafka/kafkajs/commit-positions.ts'
export type { KafkaCommonOptions } from '../../../binder/kafka/options.ts'
export type { MemoryBrokerOptions } from '../../../binder/memory/broker.ts'
export type { Window } from '../../../binder/pipeline/flow-options.ts'
export type { PostgresTransportOptions } from '../../../binder/postgres/options.ts'
export type { AmqpConnection } from '../../../binder/rabbitmq/link/amqplib-types.ts'
export type { RabbitTransportOptions } from '../../../binder/rabbitmq/options.ts'
export type { RedriveOptions, RedriveReport } from '../../../binder/redrive/redrive.ts'
export type { BindingControl, BindingStatus } from '../../../binder/status.ts'
export type {
  Displacement,
  Feature,
  PublishUntil,
  SettlingTransactions,
  Stall,
  TopologyPart,
  TransportHealth,
} from '../../../binder/transport/transport.ts'
