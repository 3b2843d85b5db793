import { connect } from 'node:net'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/binder/transport'
import { Kafka, logLevel } from 'kafkajs'
import { withMistake } from './broken.ts'
import type { Post } from './place.ts'
import { HEARTBEAT_S, REBALANCE_MS, SESSION_MS } from './settings.ts'

/** A transport that reaches its broker through the link of this process alone. */
export function openTransport({ transport, port, name, broken }: Post): Transport {
  return withMistake(transport === 'kafka' ? openKafka(port, name) : openRabbit(port), broken)
}

function openRabbit(port: number): Transport {
  const url = `amqp://guest:guest@127.0.0.1:${port}?heartbeat=${HEARTBEAT_S}`
  return rabbitTransport({ url, rebalanceMs: 300 })
}

/** A broker names its own address, which would lead around the link. */
function openKafka(port: number, clientId: string): Transport {
  const kafka = new Kafka({
    clientId,
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING,
    socketFactory: ({ onConnect }) => connect({ host: '127.0.0.1', port }, onConnect),
  })
  return kafkaTransport({
    kafka,
    sessionTimeoutMs: SESSION_MS,
    heartbeatIntervalMs: 500,
    rebalanceTimeoutMs: REBALANCE_MS,
    delayDiscoveryMs: 1_000,
  })
}
