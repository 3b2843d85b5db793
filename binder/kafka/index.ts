/**
 * Kafka through kafkajs: a channel is a topic, a group is a consumer group. What lies where on the broker and how messages
 * look is part of the contract with other clients: `docs/brokers/kafka.md`, `docs/reference/wire-format.md`.
 *
 * What differs from other transports: a message that waits for its time lies in topics of its own, and keys map to
 * partitions as they do for Kafka's Java client, so both may write to one topic.
 *
 * @module
 */
export { kafkaTransport } from './kafkajs/transport.ts'
