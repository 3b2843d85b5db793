import type { Transport } from '../../transport/transport.ts'
import { KafkaTransport } from '../transport.ts'
import { PlatformaticDriver } from './driver.ts'
import { type PlatformaticTransportOptions, resolvePlatformaticOptions } from './options.ts'

/**
 * Kafka as a transport, with connections of `@platformatic/kafka` 2.
 *
 * Topics, records and groups are the same as with `concordat/binder/kafka`, and members of both can share a group. It needs Kafka
 * 2.4 or later, and the Node versions of `@platformatic/kafka` (22.22 or 24.6 or later).
 */
export function platformaticTransport(options: PlatformaticTransportOptions): Transport {
  const resolved = resolvePlatformaticOptions(options)
  return new KafkaTransport(resolved, new PlatformaticDriver(resolved))
}
