import type { Transport } from '../../transport/transport.ts'
import { KafkaTransport } from '../transport.ts'
import { PlatformaticDriver } from './driver.ts'
import { type PlatformaticTransportOptions, resolvePlatformaticOptions } from './options.ts'

/**
 * Kafka as a transport, over connections of `@platformatic/kafka` 2.
 *
 * What lies where on the broker is as with `concordat/binder/kafka`: both write the same topics, records and groups, and members of
 * both share a group. It needs Kafka 2.4 or later, and Node as `@platformatic/kafka` does (22.22 or 24.6 or later).
 */
export function platformaticTransport(options: PlatformaticTransportOptions): Transport {
  const resolved = resolvePlatformaticOptions(options)
  return new KafkaTransport(resolved, new PlatformaticDriver(resolved))
}
