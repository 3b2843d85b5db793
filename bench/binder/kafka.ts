import type { SuiteOptions } from '../main.ts'
import { measureBroker } from './broker.ts'

/** Shared by both sides. */
export const COMMIT_INTERVAL_MS = 200
export const MAX_WAIT_MS = 250

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
