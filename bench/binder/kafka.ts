import type { SuiteOptions } from '../main.ts'
import { type BrokerSides, measureBroker } from './broker.ts'
import { measureWire } from './wire.ts'

const PLAIN = 'the same without any header, id or check'
const countOf = (bytes: number): number => (bytes < 1_000 ? 60_000 : 20_000)

const KAFKAJS: BrokerSides = {
  broker: 'kafka',
  ours: new URL('./kafka-ours.ts', import.meta.url),
  bare: new URL('./kafka-bare.ts', import.meta.url),
  peers: {
    publish: 'kafkajs, idempotent, acks all, same batch, same records',
    publishPlain: PLAIN,
    consume: 'kafkajs eachMessage, parse and check, commit every 200 ms',
  },
  ofPlain: 0.6,
  countOf,
}

const PLATFORMATIC: BrokerSides = {
  broker: 'kafka on platformatic',
  ours: new URL('./platformatic-ours.ts', import.meta.url),
  bare: new URL('./platformatic-bare.ts', import.meta.url),
  peers: {
    publish: '@platformatic/kafka, idempotent, acks all, same batch, same records',
    publishPlain: PLAIN,
    consume: '@platformatic/kafka stream, parse and check, commit every 200 ms',
  },
  ofPlain: 0.6,
  countOf,
}

export function measureKafka(address: string, options: SuiteOptions): Promise<void> {
  return measureBroker(KAFKAJS, address, options)
}

/** The same on the other client library, beside that library. */
export function measurePlatformatic(address: string, options: SuiteOptions): Promise<void> {
  return measureBroker(PLATFORMATIC, address, options)
}

/** Measures the second library beside kafkajs alone, and beside our transport on kafkajs. */
export async function measureBoth(address: string, options: SuiteOptions): Promise<void> {
  const { publish, consume } = KAFKAJS.peers
  const alone = {
    ...PLATFORMATIC,
    bare: KAFKAJS.bare,
    peers: { publish, consume },
    atLeast: { publish: 1.8, consume: 1 },
  }
  await measureBroker(alone, address, options)
  const kafkajs = 'our transport on kafkajs'
  const ours = { ...PLATFORMATIC, bare: KAFKAJS.ours, peers: { publish: kafkajs, consume: kafkajs }, atLeast: {} }
  await measureBroker(ours, address, options)
}

export async function measureKafkaWire(address: string, options: SuiteOptions): Promise<void> {
  for (const sides of [KAFKAJS, PLATFORMATIC]) await measureWire(sides, address, options)
}
