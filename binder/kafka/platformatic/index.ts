/**
 * Kafka over connections of `@platformatic/kafka`: the same topics, groups and records as `concordat/binder/kafka`, which is
 * on kafkajs. Producing, consuming and the group are on the protocol itself; which to take says `docs/brokers/kafka.md`.
 *
 * @module
 */
export { platformaticTransport } from './transport.ts'
