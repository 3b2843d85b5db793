import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { kafkaOn } from '../../support/kafka-driver.ts'
import type { BrokerAddress } from './place.ts'
import { HEARTBEAT_S, SESSION_MS } from './settings.ts'

/** Connects as a service on a cluster would, but with short timeouts. */
export function openTransport(broker: BrokerAddress, clientId: string): Transport {
  switch (broker.kind) {
    case 'kafka': {
      const { nodes } = broker
      const times = {
        connectTimeoutMs: 2_000,
        requestTimeoutMs: SESSION_MS,
        sessionTimeoutMs: SESSION_MS,
        heartbeatIntervalMs: SESSION_MS / 10,
        rebalanceTimeoutMs: SESSION_MS + 1_000,
      }
      // Each broker names its own address, which would lead around the link.
      const ports = new Map(nodes.map(({ port, via }) => [port, via]))
      return kafkaOn(nodes.map(({ port }) => `127.0.0.1:${port}`).join(','), times, { clientId, ports })
    }
    case 'rabbitmq': {
      const url = broker.nodes.map(({ via }) => `amqp://guest:guest@127.0.0.1:${via}?heartbeat=${HEARTBEAT_S}`)
      return rabbitTransport({ url, queueType: 'quorum', rebalanceMs: 500, requestTimeoutMs: SESSION_MS })
    }
  }
}
