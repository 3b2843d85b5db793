export type {
  KafkaAdmin,
  KafkaClient,
  KafkaConsumer,
  KafkaProducer,
} from './client.ts'
export type { Compression } from './codecs.ts'
export { groupIdOf } from './group-ids.ts'
export type { KafkaTransportOptions } from './options.ts'
export { kafkaTransport } from './transport.ts'
