import { invalidOption } from '../../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../../core/option-checks.ts'
import type { Resolved } from '../../../core/resolved-options.ts'
import { COMMON_NAMES, checkCompression, type KafkaCommonOptions } from '../options.ts'
import { type KafkaSettings, resolveKafkaSettings } from '../settings.ts'
import { requirePackage } from '../wire/compression-codecs.ts'
import { checkSasl } from './check-sasl.ts'
import type { KafkaConnectionClass } from './connection-types.ts'

/** Options of `platformaticTransport`. */
export interface PlatformaticTransportOptions extends KafkaCommonOptions {
  /** Connection settings: the `Connection` class of `@platformatic/kafka` and its options. */
  readonly kafka: KafkaConnectOptions
}

/** Connection to the brokers. */
export interface KafkaConnectOptions {
  /**
   * The class of `import { Connection } from '@platformatic/kafka'`. Each transport makes its own connections with it, and closes
   * them.
   */
  readonly Connection: KafkaConnectionClass
  /** First brokers to contact, as `host:port`; they name the others. */
  readonly bootstrapBrokers: readonly string[]
  /** Name in logs and quotas of the broker. @default 'concordat' */
  readonly clientId?: string | undefined
  /** Encryption: options of Node's `tls.connect`, such as `{ ca }`. @default no encryption */
  readonly tls?: object | undefined
  /** Server name for the certificate; `true`: the broker's host. @default none */
  readonly tlsServerName?: string | boolean | undefined
  /**
   * `{ mechanism: 'SCRAM-SHA-512', username, password }`, or PLAIN, SCRAM-SHA-256, OAUTHBEARER with a `token`, or any form of
   * `@platformatic/kafka`; lower case is accepted. A function instead of a text is called for each login. @default no password
   */
  readonly sasl?: object | undefined
}

export type ResolvedOptions = KafkaSettings &
  Resolved<Pick<PlatformaticTransportOptions, 'kafka' | 'compression'>> & {
    readonly bootstrap: ReadonlyArray<{ readonly host: string; readonly port: number }>
  }

const NAMES = optionNames<PlatformaticTransportOptions>({ kafka: true, ...COMMON_NAMES })
const KAFKA_NAMES = optionNames<KafkaConnectOptions>({
  Connection: true,
  bootstrapBrokers: true,
  clientId: true,
  tls: true,
  tlsServerName: true,
  sasl: true,
})

/** Applies the defaults and checks everything. Pure. @throws TypeError / RangeError naming the option */
export function resolvePlatformaticOptions(options: PlatformaticTransportOptions): ResolvedOptions {
  const path = 'platformaticTransport'
  refuseUnknown(path, options, NAMES)
  const { kafka } = options
  const compression = checkCompression(path, options.compression ?? 'none')
  requirePackage(compression)
  return Object.freeze({
    kafka: checkKafka(kafka),
    bootstrap: kafka.bootstrapBrokers.map(placeOf),
    compression,
    ...resolveKafkaSettings(path, options),
  })
}

function checkKafka(kafka: KafkaConnectOptions): KafkaConnectOptions {
  const path = 'platformaticTransport.kafka'
  refuseUnknown(path, kafka, KAFKA_NAMES)
  const { Connection, bootstrapBrokers, clientId, tls, tlsServerName, sasl } = kafka
  if (typeof Connection !== 'function' || !hasMethods(Connection.prototype, USED))
    throw wrongKind(`${path}.Connection`, Connection, "the class Connection of '@platformatic/kafka'")
  if (!Array.isArray(bootstrapBrokers) || bootstrapBrokers.length === 0)
    throw wrongKind(`${path}.bootstrapBrokers`, bootstrapBrokers, "a list of at least one broker: ['127.0.0.1:9092']")
  if (clientId !== undefined && (typeof clientId !== 'string' || clientId === ''))
    throw invalidOption(`${path}.clientId`, clientId, 'a name')
  for (const [name, value] of Object.entries({ tls, sasl }))
    if (value !== undefined && (typeof value !== 'object' || value === null || Array.isArray(value)))
      throw wrongKind(`${path}.${name}`, value, 'an object of options')
  if (tlsServerName !== undefined && typeof tlsServerName !== 'string' && typeof tlsServerName !== 'boolean')
    throw wrongKind(`${path}.tlsServerName`, tlsServerName, 'a name, true or false')
  return Object.freeze({ ...kafka, ...(sasl === undefined ? {} : { sasl: checkSasl(`${path}.sasl`, sasl) }) })
}

/** Members that distinguish a connection class; kafkajs exports classes that look similar. */
const USED = ['connect', 'isConnected', 'close', 'send', 'on'] as const

const PLACE = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/

/** @throws TypeError */
function placeOf(broker: unknown): { readonly host: string; readonly port: number } {
  const [, six, four, port] = (typeof broker === 'string' ? PLACE.exec(broker) : null) ?? []
  const host = six ?? four
  if (host !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return { host, port: Number(port) }
  throw invalidOption('platformaticTransport.kafka.bootstrapBrokers', broker, "addresses as 'host:port'")
}
