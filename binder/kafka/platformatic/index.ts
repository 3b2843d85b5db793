/**
 * Kafka with connections of `@platformatic/kafka`: the same topics, groups and records as `concordat/binder/kafka`, which uses
 * kafkajs. Producing, consuming and the group use the protocol directly; `docs/brokers/kafka.md` says which to choose.
 *
 * @module
 */
export { platformaticTransport } from './transport.ts'
