/**
 * Kafka with kafkajs: a channel is a topic, a group is a consumer group. Names on the broker and the form of messages are part of
 * the contract with other clients: `docs/brokers/kafka.md`, `docs/reference/wire-format.md`.
 *
 * Differences from other transports: delayed messages wait in separate topics, and keys map to partitions as in Kafka's Java
 * client, so both may write to one topic.
 *
 * @module
 */
export { kafkaTransport } from './kafkajs/transport.ts'
