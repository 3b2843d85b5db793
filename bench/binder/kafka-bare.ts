import { Kafka, logLevel } from 'kafkajs'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import { newId } from '../inside.ts'
import { COMMIT_INTERVAL_MS, MAX_WAIT_MS } from './kafka-works.ts'
import { publishWorks, type RecordToSend } from './record-by-hand.ts'
import { type Scene, serveSide, type Works } from './side.ts'
import { batches, PARTITIONS, Payload, payloads } from './workload.ts'

await serveSide(async (scene: Scene): Promise<Works> => {
  const kafka = new Kafka({ brokers: scene.address.split(','), clientId: 'bench', logLevel: logLevel.NOTHING })
  const all = payloads(scene.count, scene.bytes)
  const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false })
  await producer.connect()

  const publish = (toRecord: (payload: Payload) => RecordToSend): Promise<Measured> =>
    timed(all.length, async () => {
      for (const batch of batches(all)) {
        const messages = batch.map(toRecord)
        await producer.sendBatch({ acks: -1, topicMessages: [{ topic: scene.publishing, messages }] })
      }
    })

  const consume = async (): Promise<Measured> => {
    const arrivals = new Arrivals(all.length)
    const consumer = kafka.consumer({ groupId: `bare-${newId()}`, maxWaitTimeInMs: MAX_WAIT_MS })
    await consumer.connect()
    await consumer.subscribe({ topic: scene.reading, fromBeginning: true })
    await consumer.run({
      autoCommitInterval: COMMIT_INTERVAL_MS,
      partitionsConsumedConcurrently: PARTITIONS,
      eachMessage: async ({ message }) => {
        Payload.parse(JSON.parse(message.value?.toString() ?? ''))
        arrivals.note()
      },
    })
    const measured = await arrivals.measured()
    await consumer.disconnect()
    return measured
  }

  const leave = (): Promise<void> => producer.disconnect()
  return { ...publishWorks(scene, publish), consume, leave }
})
