import type { Transport } from '../../transport/transport.ts'
import { KafkaTransport } from '../transport.ts'
import { KafkajsDriver } from './driver.ts'
import { type KafkaTransportOptions, resolveKafkaOptions } from './options.ts'

/**
 * Kafka as a transport, over a kafkajs 2.2 client of yours.
 *
 * A destination is a topic; a durable group is the Kafka group `<group>.<destination>` or the one of `groupIds`, from the earliest offset; no
 * group is a throw-away Kafka group from the end, which commits nothing. Records are CloudEvents in binary mode. A key's
 * partition is that of the Java client.
 *
 * Node 24 prints `TimeoutNegativeWarning` for each connection that kafkajs makes (a negative timer of its own, which
 * does no harm): run with `--disable-warning=TimeoutNegativeWarning`.
 */
export function kafkaTransport(options: KafkaTransportOptions): Transport {
  const resolved = resolveKafkaOptions(options)
  return new KafkaTransport(resolved, new KafkajsDriver(resolved))
}
