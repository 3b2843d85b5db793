/** Publishing and consuming by the binder on Kafka, over any client library. */
import { createBinder, sink } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { Kafka, logLevel } from 'kafkajs'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { newId } from '../inside.ts'
import type { Scene, Works } from './side.ts'
import { batches, benchChannel, PARTITIONS, PREFETCH, payloads } from './workload.ts'

export const COMMIT_INTERVAL_MS = 200
export const MAX_WAIT_MS = 250

export interface Times {
  readonly commitIntervalMs: number
  readonly maxWaitMs: number
}

/** @param open a transport of the library, for consuming with these times */
export async function kafkaWorks(scene: Scene, open: (times: Times) => Transport): Promise<Works> {
  const times = { commitIntervalMs: COMMIT_INTERVAL_MS, maxWaitMs: MAX_WAIT_MS }
  const all = payloads(scene.count, scene.bytes)
  const publishing = benchChannel(scene.publishing, scene.keyed)
  const reading = benchChannel(scene.reading, scene.keyed)
  const sender = createBinder({ service: 'bench', transport: open(times), sends: [publishing, reading] })
  await sender.start()
  for (const batch of batches(all)) await sender.sendBatch(reading, batch)

  const publish = (): Promise<Measured> =>
    timed(all.length, async () => {
      for (const batch of batches(all)) await sender.sendBatch(publishing, batch)
    })

  /** A new group reads the topic from its beginning, so each turn has the same to do. */
  const consume = async (): Promise<Measured> => {
    const arrivals = new Arrivals(all.length)
    const flow = { concurrency: PARTITIONS, prefetch: PREFETCH, onFailure: 'drop' } as const
    const binding = sink(reading, { group: `ours-${newId()}`, ...flow }, () => arrivals.note())
    await using binder = createBinder({ service: 'bench', transport: open(times), bindings: [binding] })
    await binder.start()
    return await arrivals.measured()
  }

  const leave = async (): Promise<void> => {
    await sender.close()
    const kafka = new Kafka({ brokers: scene.address.split(','), clientId: 'bench', logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    // A side of the same kind may have deleted the topics already.
    const topics = (await admin.listTopics()).filter((name) => name === publishing.name || name === reading.name)
    if (topics.length > 0) await admin.deleteTopics({ topics })
    await admin.disconnect()
  }

  return { publish, consume, leave }
}
