import type { Transport } from '../../transport/transport.ts'
import { KafkaTransport } from '../transport.ts'
import { KafkajsDriver } from './driver.ts'
import { type KafkaTransportOptions, resolveKafkaOptions } from './options.ts'

/**
 * Kafka as a transport, with your kafkajs 2.2 client.
 *
 * A destination is a topic; a durable group is the Kafka group `<group>.<destination>` or that of `groupIds`, from the earliest
 * offset; a subscription without a group is a temporary Kafka group from the end, which commits nothing. Records are CloudEvents
 * in binary mode. A key's partition is that of the Java client.
 *
 * Node 24 prints `TimeoutNegativeWarning` for each connection that kafkajs makes (because of a negative timer, which is
 * harmless): run with `--disable-warning=TimeoutNegativeWarning`.
 */
export function kafkaTransport(options: KafkaTransportOptions): Transport {
  const resolved = resolveKafkaOptions(options)
  return new KafkaTransport(resolved, new KafkajsDriver(resolved))
}
