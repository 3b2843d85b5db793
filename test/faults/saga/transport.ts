import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/binder/transport'
import { Kafka, logLevel } from 'kafkajs'
import type { Place } from './place.ts'
import { SESSION_MS } from './settings.ts'

/** As a service would connect, but quick to notice that a member of a group is gone. */
export function transportTo({ kind, url }: Place['broker']): Transport {
  switch (kind) {
    case 'rabbitmq':
      return rabbitTransport({ url, rebalanceMs: 500 })
    case 'kafka':
      return kafkaTransport({
        kafka: new Kafka({ clientId: 'bank', brokers: [url], logLevel: logLevel.NOTHING }),
        replicationFactor: 1,
        sessionTimeoutMs: SESSION_MS,
        heartbeatIntervalMs: SESSION_MS / 10,
      })
  }
}
