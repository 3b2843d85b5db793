import { type Binder, type Channel, createBinder, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { newId } from 'concordat/core'
import { type Consumer, Kafka, logLevel, type Message, type Producer } from 'kafkajs'
import { type Measured, timed } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { Arrivals, batches, benchChannel, PARTITIONS, Payload, PREFETCH, payloads, SIZES } from './workload.ts'

const COUNT = 20_000
const COMMIT_INTERVAL_MS = 200
const MAX_WAIT_MS = 250

export async function measureKafka(address: string, options: SuiteOptions): Promise<void> {
  const kafka = new Kafka({ brokers: address.split(','), clientId: 'bench', logLevel: logLevel.NOTHING })
  for (const { label, bytes } of SIZES) {
    const bench = new KafkaBench(kafka, payloads(COUNT, bytes))
    await bench.open()
    try {
      await bench.measure(label, options)
    } finally {
      await bench.close()
    }
  }
}

/** One size: its topics and its connections, which stay open over the rounds on both sides. */
class KafkaBench {
  readonly #kafka: Kafka
  readonly #payloads: readonly Payload[]
  readonly #channel: Channel<Payload, Payload> = benchChannel(`bench-${newId()}`)
  readonly #producer: Producer
  readonly #binder: Binder

  constructor(kafka: Kafka, all: readonly Payload[]) {
    this.#kafka = kafka
    this.#payloads = all
    this.#producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false })
    const transport = kafkaTransport({ kafka })
    this.#binder = createBinder({ service: 'bench', transport, sends: [this.#channel] })
  }

  async open(): Promise<void> {
    await this.#binder.start()
    await this.#binder.sendBatch(this.#channel, this.#payloads)
    await this.#producer.connect()
  }

  async close(): Promise<void> {
    await this.#producer.disconnect()
    await this.#binder.close()
  }

  async measure(label: string, { measure }: SuiteOptions): Promise<void> {
    await measure({
      what: `kafka, publish, ${label}, messages/s`,
      ours: () => this.#publishOurs(),
      peer: { name: 'kafkajs, idempotent, acks all, same batch, same records', run: () => this.#publishBare(record) },
    })
    await measure({
      what: `kafka, publish, ${label}, messages/s`,
      ours: () => this.#publishOurs(),
      peer: { name: 'the same without any header, id or check', run: () => this.#publishBare(plainRecord) },
    })
    await measure({
      what: `kafka, consume, ${label}, messages/s`,
      ours: () => this.#consumeOurs(),
      peer: { name: 'kafkajs eachMessage, parse and check, commit every 200 ms', run: () => this.#consumeBare() },
    })
  }

  #publishOurs(): Promise<Measured> {
    return timed(this.#payloads.length, async () => {
      for (const batch of batches(this.#payloads)) await this.#binder.sendBatch(this.#channel, batch)
    })
  }

  #publishBare(toRecord: (payload: Payload, topic: string) => Message): Promise<Measured> {
    const topic = this.#channel.name
    return timed(this.#payloads.length, async () => {
      for (const batch of batches(this.#payloads)) {
        const messages = batch.map((payload) => toRecord(payload, topic))
        await this.#producer.sendBatch({ acks: -1, topicMessages: [{ topic, messages }] })
      }
    })
  }

  /** A new group reads the topic from its beginning, so each round has the same to do. */
  async #consumeOurs(): Promise<Measured> {
    const arrivals = new Arrivals(COUNT)
    const group = `ours-${newId()}`
    const transport = kafkaTransport({
      kafka: this.#kafka,
      commitIntervalMs: COMMIT_INTERVAL_MS,
      maxWaitMs: MAX_WAIT_MS,
    })
    const options = { group, concurrency: PARTITIONS, prefetch: PREFETCH, onFailure: 'drop' } as const
    const binding = sink(this.#channel, options, () => arrivals.note())
    await using binder = createBinder({ service: 'bench', transport, bindings: [binding] })
    await binder.start()
    return await arrivals.measured()
  }

  async #consumeBare(): Promise<Measured> {
    const arrivals = new Arrivals(COUNT)
    const consumer: Consumer = this.#kafka.consumer({ groupId: `bare-${newId()}`, maxWaitTimeInMs: MAX_WAIT_MS })
    await consumer.connect()
    await consumer.subscribe({ topic: this.#channel.name, fromBeginning: true })
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
}

/** The record a careful user would write by hand: checked, with an id and the CloudEvents headers. */
function record(payload: Payload, topic: string): Message {
  const value = JSON.stringify(Payload.parse(payload))
  const headers = {
    ce_specversion: '1.0',
    ce_id: newId(),
    ce_source: 'bench',
    ce_type: topic,
    ce_time: new Date().toISOString(),
    'content-type': 'application/json',
    ce_partitionkey: payload.account,
  }
  return { key: payload.account, value, headers }
}

function plainRecord(payload: Payload): Message {
  return { key: payload.account, value: JSON.stringify(payload) }
}
