/**
 * Two Kafka drivers beside each other, without a binder: the possible gain of a second driver behind the same adapter.
 * Same broker, same batches, same records; both idempotent with acks of all replicas, both commit while they consume.
 */

import { Kafka, logLevel } from 'kafkajs'
import { Arrivals } from '../arrivals.ts'
import { type Measured, median, type Run, rate, takeTurns, timed } from '../compare.ts'
import { newId } from '../inside.ts'
import type { SuiteOptions } from '../main.ts'
import { loadPeer, type Packages, PeerUnavailable, providePeer } from '../peers.ts'
import { number } from '../table.ts'
import { batches, PARTITIONS, Payload, payloads, SIZES } from './workload.ts'

const COUNT = 20_000
const COMMIT_INTERVAL_MS = 200
const MAX_WAIT_MS = 250
const PACKAGES: Packages = { '@platformatic/kafka': '2.12.1' }
const NAME = `@platformatic/kafka ${PACKAGES['@platformatic/kafka']}`

/** The part of `@platformatic/kafka` that the bench uses. */
interface Platformatic {
  readonly Producer: new (options: object) => PlatformaticProducer
  readonly Consumer: new (options: object) => PlatformaticConsumer
  readonly stringSerializers: object
  readonly stringDeserializers: object
}

interface PlatformaticProducer {
  send(request: { readonly messages: readonly PlatformaticMessage[]; readonly acks: number }): Promise<unknown>
  close(): Promise<unknown>
}

interface PlatformaticMessage {
  readonly topic: string
  readonly key: string
  readonly value: string
}

interface PlatformaticConsumer {
  consume(options: object): Promise<PlatformaticStream>
  close(force?: boolean): Promise<unknown>
}

interface PlatformaticStream {
  on(event: 'data', listener: (message: { readonly value: string }) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  close(): Promise<unknown>
}

interface Bench {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly all: readonly Payload[]
}

export async function measureDrivers(address: string, options: SuiteOptions): Promise<void> {
  let platformatic: Platformatic
  try {
    const folder = await providePeer('platformatic', PACKAGES, options.progress)
    platformatic = loadPeer<Platformatic>(folder, '@platformatic/kafka')
  } catch (error) {
    if (!(error instanceof PeerUnavailable)) throw error
    return options.skip(`${NAME}: ${error.message}`)
  }
  const rows: string[][] = []
  for (const { label, bytes } of SIZES) {
    const bench = { brokers: address.split(','), topic: `bench-${newId()}`, all: payloads(COUNT, bytes) }
    rows.push(...(await measureSize(bench, platformatic, label, options)))
  }
  const head = ['messages/s', 'kafkajs 2.2.4', NAME, 'of the rate of kafkajs']
  options.report({ title: 'binder: two Kafka drivers, both without the binder', head, rows })
}

async function measureSize(
  bench: Bench,
  platformatic: Platformatic,
  label: string,
  options: SuiteOptions,
): Promise<string[][]> {
  const kafka = new Kafka({ brokers: [...bench.brokers], clientId: 'bench', logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: bench.topic, numPartitions: PARTITIONS }], waitForLeaders: true })
  const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false })
  await producer.connect()
  const { Producer, stringSerializers } = platformatic
  const other = new Producer({
    clientId: 'bench',
    bootstrapBrokers: bench.brokers,
    serializers: stringSerializers,
    idempotent: true,
  })
  try {
    const publish = [
      () =>
        published(bench, (messages) =>
          producer.sendBatch({ acks: -1, topicMessages: [{ topic: bench.topic, messages }] }),
        ),
      () => published(bench, (messages) => other.send({ messages, acks: -1 })),
    ]
    const consume = [() => consumedByKafkajs(kafka, bench), () => consumedByPlatformatic(platformatic, bench)]
    return [await row(`publish, ${label}`, publish, options), await row(`consume, ${label}`, consume, options)]
  } finally {
    await other.close()
    await producer.disconnect()
    await admin.deleteTopics({ topics: [bench.topic] })
    await admin.disconnect()
  }
}

async function row(what: string, sides: readonly Run[], { rounds, progress }: SuiteOptions): Promise<string[]> {
  progress(`two Kafka drivers: ${what}`)
  const [kafkajs = [], platformatic = []] = (await takeTurns(sides, { rounds })).map((side) => side.map(rate))
  const share = median(platformatic.map((of, round) => of / (kafkajs[round] ?? Number.NaN)))
  return [what, number(median(kafkajs)), number(median(platformatic)), share.toFixed(2)]
}

function published(
  { topic, all }: Bench,
  send: (messages: { topic: string; key: string; value: string }[]) => Promise<unknown>,
): Promise<Measured> {
  return timed(all.length, async () => {
    for (const batch of batches(all)) {
      await send(batch.map((payload) => ({ topic, key: payload.account, value: JSON.stringify(payload) })))
    }
  })
}

async function consumedByKafkajs(kafka: Kafka, { topic }: Bench): Promise<Measured> {
  const arrivals = new Arrivals(COUNT)
  const consumer = kafka.consumer({ groupId: `kafkajs-${newId()}`, maxWaitTimeInMs: MAX_WAIT_MS })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
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

async function consumedByPlatformatic(platformatic: Platformatic, { brokers, topic }: Bench): Promise<Measured> {
  const arrivals = new Arrivals(COUNT)
  const { Consumer, stringDeserializers } = platformatic
  const options = { clientId: 'bench', bootstrapBrokers: brokers, deserializers: stringDeserializers }
  const consumer = new Consumer({ ...options, groupId: `platformatic-${newId()}` })
  const stream = await consumer.consume({
    topics: [topic],
    mode: 'earliest',
    autocommit: COMMIT_INTERVAL_MS,
    maxWaitTime: MAX_WAIT_MS,
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
