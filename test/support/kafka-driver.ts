/** Tests of Kafka run on the client library that `KAFKA_DRIVER` names: `kafkajs`, or `platformatic`. */
import { connect, type Socket } from 'node:net'
import { Connection } from '@platformatic/kafka'
import { type KafkaCommonOptions, kafkaTransport as onKafkajs } from 'concordat/binder/kafka'
import { platformaticTransport as onPlatformatic } from 'concordat/binder/kafka/platformatic'
import type { Transport } from 'concordat/binder/transport'
import { Kafka, logLevel } from 'kafkajs'

export const KAFKA_DRIVER = process.env['KAFKA_DRIVER'] ?? 'kafkajs'

export interface Way {
  readonly clientId?: string
  /** A local port that all connections go to, whatever address a broker says that it has. */
  readonly port?: number
  /** Hears of each socket. */
  readonly onSocket?: (socket: Socket) => void
}

export function kafkaOn(brokers: string, options: KafkaCommonOptions = {}, way: Way = {}): Transport {
  switch (KAFKA_DRIVER) {
    case 'kafkajs':
      return kafkajsOn(brokers, options, way)
    case 'platformatic':
      return platformaticOn(brokers, options, way)
    default:
      throw new Error(`KAFKA_DRIVER is "${KAFKA_DRIVER}": kafkajs and platformatic are there`)
  }
}

export function kafkajsOn(brokers: string, options: KafkaCommonOptions = {}, way: Way = {}): Transport {
  const { clientId = 'tests', port, onSocket = () => {} } = way
  const isPlain = port === undefined && way.onSocket === undefined
  const kafka = new Kafka({
    clientId,
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    ...(isPlain
      ? {}
      : {
          socketFactory: ({ host, port: own, onConnect }) => {
            const socket =
              port === undefined
                ? connect({ host, port: own }, onConnect)
                : connect({ host: '127.0.0.1', port }, onConnect)
            onSocket(socket)
            return socket
          },
        }),
  })
  return onKafkajs({ kafka, ...options })
}

export function platformaticOn(brokers: string, options: KafkaCommonOptions = {}, way: Way = {}): Transport {
  const { clientId = 'tests', port, onSocket = () => {} } = way
  class OnTheWay extends Connection {
    override connect(...[host, own, callback]: Parameters<Connection['connect']>): void | Promise<void> {
      const connecting =
        port === undefined ? super.connect(host, own, callback) : super.connect('127.0.0.1', port, callback)
      onSocket(this.socket)
      return connecting
    }
  }
  return onPlatformatic({ kafka: { Connection: OnTheWay, clientId, bootstrapBrokers: brokers.split(',') }, ...options })
}
