/** Clusters of private servers, from what this machine has installed. */
export { type KafkaCluster, startKafkaCluster } from './kafka.ts'
export { CLIENTS, type PostgresPair, portOf, startPostgresPair } from './postgres.ts'
export { type RabbitCluster, startRabbitCluster } from './rabbitmq.ts'
