import type { SuiteOptions } from '../main.ts'
import { measureBroker } from './broker.ts'

export function measureKafka(address: string, options: SuiteOptions): Promise<void> {
  return measureBroker(
    {
      broker: 'kafka',
      ours: new URL('./kafka-ours.ts', import.meta.url),
      bare: new URL('./kafka-bare.ts', import.meta.url),
      peers: {
        publish: 'kafkajs, idempotent, acks all, same batch, same records',
        publishPlain: 'the same without any header, id or check',
        consume: 'kafkajs eachMessage, parse and check, commit every 200 ms',
      },
      countOf: (bytes) => (bytes < 1_000 ? 60_000 : 20_000),
    },
    address,
    options,
  )
}

/** The same on the other client library, beside that library. */
export function measurePlatformatic(address: string, options: SuiteOptions): Promise<void> {
  return measureBroker(
    {
      broker: 'kafka on platformatic',
      ours: new URL('./platformatic-ours.ts', import.meta.url),
      bare: new URL('./platformatic-bare.ts', import.meta.url),
      peers: {
        publish: '@platformatic/kafka, idempotent, acks all, same batch, same records',
        publishPlain: 'the same without any header, id or check',
        consume: '@platformatic/kafka stream, parse and check, commit every 200 ms',
      },
      countOf: (bytes) => (bytes < 1_000 ? 60_000 : 20_000),
    },
    address,
    options,
  )
}

/** What the second library brings: our transport on each, in turns. */
export function measureBoth(address: string, options: SuiteOptions): Promise<void> {
  const kafkajs = 'our transport on kafkajs'
  return measureBroker(
    {
      broker: 'kafka on platformatic',
      ours: new URL('./platformatic-ours.ts', import.meta.url),
      bare: new URL('./kafka-ours.ts', import.meta.url),
      peers: { publish: kafkajs, consume: kafkajs },
      atLeast: { publish: 1.8, consume: 1 },
      countOf: (bytes) => (bytes < 1_000 ? 60_000 : 20_000),
    },
    address,
    options,
  )
}
