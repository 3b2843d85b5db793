/**
 * RabbitMQ (3.10 or later) with amqplib (2 or later). Names on the broker: `topology/topology-names.ts`; form of messages:
 * `wire/envelope.ts`. Both are part of the contract with other clients.
 *
 * Differences from other transports: a new group only receives messages sent after its queues were declared (name the groups in
 * the channel), and a message without a queue is refused. Order per key holds across members, restarts and handovers; a handover
 * redelivers the messages in the window.
 *
 * @module
 */
export { rabbitTransport } from './transport.ts'
