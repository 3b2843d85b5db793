import { connect } from 'node:net'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/binder/transport'
import { Kafka, logLevel } from 'kafkajs'
import type { BrokerAddress } from './place.ts'
import { HEARTBEAT_S, SESSION_MS } from './settings.ts'

/** As a service on a cluster would connect, but quick to notice that something is gone. */
export function openTransport(broker: BrokerAddress, clientId: string): Transport {
  switch (broker.kind) {
    case 'kafka':
      return kafkaTransport({
        kafka: kafkaAt(broker, clientId),
        sessionTimeoutMs: SESSION_MS,
        heartbeatIntervalMs: SESSION_MS / 10,
        rebalanceTimeoutMs: SESSION_MS + 1_000,
      })
    case 'rabbitmq': {
      const url = broker.nodes.map(({ via }) => `amqp://guest:guest@127.0.0.1:${via}?heartbeat=${HEARTBEAT_S}`)
      return rabbitTransport({ url, queueType: 'quorum', rebalanceMs: 500, requestTimeoutMs: SESSION_MS })
    }
  }
}

/** Each broker names its own address, which would lead around the link. */
export function kafkaAt({ nodes }: Pick<BrokerAddress, 'nodes'>, clientId: string): Kafka {
  const links = new Map(nodes.map(({ port, via }) => [port, via]))
  return new Kafka({
    clientId,
    brokers: nodes.map(({ port }) => `127.0.0.1:${port}`),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    requestTimeout: SESSION_MS,
    socketFactory: ({ host, port, onConnect }) => connect({ host, port: links.get(port) ?? port }, onConnect),
  })
}
