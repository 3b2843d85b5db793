import { Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { newId } from '../inside.ts'
import { COMMIT_INTERVAL_MS, MAX_WAIT_MS } from './kafka-works.ts'
import { publishWorks, type RecordToSend } from './record-by-hand.ts'
import { type Scene, serveSide, type Works } from './side.ts'
import { batches, Payload, payloads } from './workload.ts'

/**
 * Bytes per fetch, the same as our side asks for. By default the library fetches up to 50 MB at once and makes objects
 * of it before it hands out the first record; the measured time would leave that work out.
 */
const MAX_PARTITION_BYTES = 512 * 1024

await serveSide(async (scene: Scene): Promise<Works> => {
  const options = { clientId: 'bench', bootstrapBrokers: scene.address.split(',') }
  const all = payloads(scene.count, scene.bytes)
  const producer = new Producer({ ...options, serializers: stringSerializers, idempotent: true })

  const publish = (toRecord: (payload: Payload) => RecordToSend): Promise<Measured> =>
    timed(all.length, async () => {
      for (const batch of batches(all)) {
        const messages = batch.map((payload) => {
          const { key, ...record } = toRecord(payload)
          return { topic: scene.publishing, ...(key === null ? {} : { key }), ...record }
        })
        await producer.send({ acks: -1, messages })
      }
    })

  const consume = async (): Promise<Measured> => {
    const arrivals = new Arrivals(all.length)
    const consumer = new Consumer({ ...options, groupId: `bare-${newId()}`, deserializers: stringDeserializers })
    const stream = await consumer.consume({
      topics: [scene.reading],
      mode: 'earliest',
      autocommit: COMMIT_INTERVAL_MS,
      maxWaitTime: MAX_WAIT_MS,
      maxBytesPerPartition: MAX_PARTITION_BYTES,
    })
    const failed = Promise.withResolvers<never>()
    stream.on('error', failed.reject)
    stream.on('data', ({ value }) => {
      Payload.parse(JSON.parse(value))
      arrivals.note()
    })
    try {
      return await Promise.race([arrivals.measured(), failed.promise])
    } finally {
      await stream.close()
      await consumer.close(true)
    }
  }

  const leave = async (): Promise<void> => {
    await producer.close()
  }
  return { ...publishWorks(scene, publish), consume, leave }
})
