import { optionNames, refuseUnknown, wrongKind } from '../../../core/option-checks.ts'
import type { Resolved } from '../../../core/resolved-options.ts'
import { COMMON_NAMES, checkCompression, type KafkaCommonOptions } from '../options.ts'
import { type KafkaSettings, resolveKafkaSettings } from '../settings.ts'
import type { KafkaClient } from './client-types.ts'
import { requireCodec } from './codecs.ts'

/** Options of `kafkaTransport`. */
export interface KafkaTransportOptions extends KafkaCommonOptions {
  /**
   * A kafkajs client: `new Kafka({ brokers, clientId, ssl, sasl, ... })`. It remains yours; the transport opens and closes
   * connections with it.
   */
  readonly kafka: KafkaClient
}

export type KafkaOptions = KafkaSettings & Resolved<Pick<KafkaTransportOptions, 'kafka' | 'compression'>>

const NAMES = optionNames<KafkaTransportOptions>({ kafka: true, ...COMMON_NAMES })

/** Applies the defaults and checks everything. Pure. @throws TypeError / RangeError naming the option */
export function resolveKafkaOptions(options: KafkaTransportOptions): KafkaOptions {
  const path = 'kafkaTransport'
  refuseUnknown(path, options, NAMES)
  const resolved = Object.freeze({
    kafka: checkClient(options.kafka),
    compression: checkCompression(path, options.compression ?? 'none'),
    ...resolveKafkaSettings(path, options),
  })
  requireCodec(resolved.compression)
  return resolved
}

function checkClient(kafka: unknown): KafkaClient {
  const client = kafka as Readonly<Record<string, unknown>> | null | undefined
  if (['producer', 'consumer', 'admin'].every((method) => typeof client?.[method] === 'function'))
    return kafka as KafkaClient
  throw wrongKind('kafkaTransport.kafka', kafka, 'a kafkajs client: new Kafka({ brokers: [...] })')
}
