export type {
  KafkaAdmin,
  KafkaClient,
  KafkaConsumer,
  KafkaProducer,
} from './client.ts'
export type { Compression } from './codecs.ts'
export type { KafkaTransportOptions } from './options.ts'
export { groupIdOf } from './subscriber.ts'
export { kafkaTransport } from './transport.ts'
