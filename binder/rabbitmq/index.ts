/**
 * RabbitMQ (3.10 or later) through amqplib (2 or later). What lies where on the broker: `topology/topology-names.ts`; how messages
 * look: `wire/envelope.ts`. Both are part of the contract with other clients.
 *
 * What differs from other transports: a new group gets only what is sent after its queues were declared (name the
 * groups in the channel), and a message no queue gets is refused. Order per key holds across members, restarts and
 * handovers; a handover redelivers what was in the window.
 *
 * @module
 */
export { rabbitTransport } from './transport.ts'
