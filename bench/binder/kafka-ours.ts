import { createBinder, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { newId } from 'concordat/core'
import { Kafka, logLevel } from 'kafkajs'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { COMMIT_INTERVAL_MS, MAX_WAIT_MS } from './kafka.ts'
import { type Scene, serveSide, type Works } from './side.ts'
import { batches, benchChannel, PARTITIONS, PREFETCH, payloads } from './workload.ts'

await serveSide(async (scene: Scene): Promise<Works> => {
  const kafka = new Kafka({ brokers: scene.address.split(','), clientId: 'bench', logLevel: logLevel.NOTHING })
  const all = payloads(scene.count, scene.bytes)
  const publishing = benchChannel(scene.publishing, scene.keyed)
  const reading = benchChannel(scene.reading, scene.keyed)
  const sender = createBinder({ service: 'bench', transport: kafkaTransport({ kafka }), sends: [publishing, reading] })
  await sender.start()
  for (const batch of batches(all)) await sender.sendBatch(reading, batch)

  const publish = (): Promise<Measured> =>
    timed(all.length, async () => {
      for (const batch of batches(all)) await sender.sendBatch(publishing, batch)
    })

  /** A new group reads the topic from its beginning, so each turn has the same to do. */
  const consume = async (): Promise<Measured> => {
    const arrivals = new Arrivals(all.length)
    const transport = kafkaTransport({ kafka, commitIntervalMs: COMMIT_INTERVAL_MS, maxWaitMs: MAX_WAIT_MS })
    const flow = { concurrency: PARTITIONS, prefetch: PREFETCH, onFailure: 'drop' } as const
    const binding = sink(reading, { group: `ours-${newId()}`, ...flow }, () => arrivals.note())
    await using binder = createBinder({ service: 'bench', transport, bindings: [binding] })
    await binder.start()
    return await arrivals.measured()
  }

  const leave = async (): Promise<void> => {
    await sender.close()
    const admin = kafka.admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [publishing.name, reading.name] })
    await admin.disconnect()
  }

  return { publish, consume, leave }
})
