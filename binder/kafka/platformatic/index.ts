/**
 * Kafka over connections of `@platformatic/kafka`: the same topics, groups and records as `concordat/binder/kafka`, which is
 * on kafkajs. Producing, consuming and the group are on the protocol itself; which to take says `docs/brokers/kafka.md`.
 *
 * @module
 */
export type { KafkaCommonOptions } from '../options.ts'
export type { Compression } from '../wire/codecs.ts'
export type { KafkaConnectionClass, KafkaConnectionOptions } from './client.ts'
export type { KafkaConnectOptions, PlatformaticTransportOptions } from './options.ts'
export { platformaticTransport } from './transport.ts'
