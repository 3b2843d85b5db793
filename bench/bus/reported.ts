import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { Kafka, logLevel } from 'kafkajs'

export type InstanceReport = { readonly did: 'ready' } | { readonly did: 'measured'; readonly cpu: number }

/** Order to measure the process' CPU time for `ms`. */
export interface Measure {
  readonly seconds: number
}

export function transportOf(broker: string, address: string): Transport {
  if (broker === 'rabbitmq') return rabbitTransport({ url: address })
  return kafkaTransport({ kafka: new Kafka({ brokers: address.split(','), logLevel: logLevel.NOTHING }) })
}
