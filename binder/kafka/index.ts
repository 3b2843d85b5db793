export { groupIdOf } from './group/group-ids.ts'
export type {
  KafkaAdmin,
  KafkaClient,
  KafkaConsumer,
  KafkaProducer,
} from './kafkajs/client.ts'
export type { Compression } from './kafkajs/codecs.ts'
export { kafkaTransport } from './kafkajs/transport.ts'
export type { KafkaTransportOptions } from './options.ts'
