/** Tests of Kafka run on the client library that `KAFKA_DRIVER` names: `kafkajs`, or `platformatic`. */
import { createRequire } from 'node:module'
import { connect, type Socket } from 'node:net'
import { kafkaTransport as onKafkajs } from 'concordat/binder/kafka'
import { platformaticTransport as onPlatformatic } from 'concordat/binder/kafka/platformatic'
import type { Transport } from 'concordat/extension'
import { Kafka, logLevel } from 'kafkajs'
import type { KafkaCommonOptions } from './inside/binder.ts'
import { KAFKA_DRIVER, KAFKA_DRIVERS } from './kafka-driver-name.ts'

export interface Way {
  readonly clientId?: string
  /** Local port for all connections, in place of the address that a broker announces. */
  readonly port?: number
  /** The same for several brokers: the local port by the broker's own. */
  readonly ports?: ReadonlyMap<number, number>
  /** Called for each socket. */
  readonly onSocket?: (socket: Socket) => void
}

export function kafkaOn(brokers: string, options: KafkaCommonOptions = {}, way: Way = {}): Transport {
  switch (KAFKA_DRIVER) {
    case 'kafkajs':
      return kafkajsOn(brokers, options, way)
    case 'platformatic':
      return platformaticOn(brokers, options, way)
    default:
      throw new Error(`KAFKA_DRIVER is "${KAFKA_DRIVER}": there are ${KAFKA_DRIVERS.join(' and ')}`)
  }
}

export function kafkajsOn(brokers: string, options: KafkaCommonOptions = {}, way: Way = {}): Transport {
  const { clientId = 'tests', onSocket = () => {} } = way
  const isPlain = way.port === undefined && way.ports === undefined && way.onSocket === undefined
  const kafka = new Kafka({
    clientId,
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    ...(options.connectTimeoutMs === undefined ? {} : { connectionTimeout: options.connectTimeoutMs }),
    ...(options.requestTimeoutMs === undefined ? {} : { requestTimeout: options.requestTimeoutMs }),
    ...(isPlain
      ? {}
      : {
          socketFactory: ({ host, port: own, onConnect }) => {
            const socket = connect(detour(way, host, own), onConnect)
            onSocket(socket)
            return socket
          },
        }),
  })
  return onKafkajs({ kafka, ...options })
}

export function platformaticOn(brokers: string, options: KafkaCommonOptions = {}, way: Way = {}): Transport {
  const { clientId = 'tests', onSocket = () => {} } = way
  const { Connection } = platformaticClient()
  class OnTheWay extends Connection {
    override connect(
      ...[host, own, callback]: Parameters<PlatformaticClient['Connection']['prototype']['connect']>
    ): void | Promise<void> {
      const place = detour(way, host, own)
      const connecting = super.connect(place.host, place.port, callback)
      onSocket(this.socket)
      return connecting
    }
  }
  return onPlatformatic({ kafka: { Connection: OnTheWay, clientId, bootstrapBrokers: brokers.split(',') }, ...options })
}

type PlatformaticClient = typeof import('@platformatic/kafka')

/** Loaded on demand: it compiles its schemas as it loads, which takes 0.5 s of every process that does not use it. */
function platformaticClient(): PlatformaticClient {
  return createRequire(import.meta.url)('@platformatic/kafka') as PlatformaticClient
}

function detour({ port, ports }: Way, host: string, own: number): { readonly host: string; readonly port: number } {
  const instead = port ?? ports?.get(own)
  return instead === undefined ? { host, port: own } : { host: '127.0.0.1', port: instead }
}
