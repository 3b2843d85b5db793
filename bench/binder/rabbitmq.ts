import type { SuiteOptions } from '../main.ts'
import { type BrokerSides, measureBroker } from './broker.ts'
import { measureWire } from './wire.ts'
import { PARTITIONS } from './workload.ts'

const SIDES: BrokerSides = {
  broker: 'rabbitmq',
  ours: new URL('./rabbitmq-ours.ts', import.meta.url),
  bare: new URL('./rabbitmq-bare.ts', import.meta.url),
  peers: {
    publish: 'amqplib confirm channel, same batch, same properties',
    publishPlain: 'the same without any header, id or check',
    consume: 'amqplib consume, parse and check, ack each, same prefetch',
  },
  ofPlain: 0.75,
  countOf: () => 20_000,
}

export function measureRabbit(url: string, options: SuiteOptions): Promise<void> {
  return measureBroker(SIDES, url, options)
}

export function measureRabbitWire(url: string, options: SuiteOptions): Promise<void> {
  return measureWire(SIDES, url, options)
}

/** The queues of a channel's group `bench`, as the binder names them. */
export function ourQueues(channel: string): string[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => `${channel}:bench:${partition}`)
}

/** Queues of the bare side, which has an exchange of its own with the same number of queues. */
export function bareQueues(exchange: string): string[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => `${exchange}-${partition}`)
}
