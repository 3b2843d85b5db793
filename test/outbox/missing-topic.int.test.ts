import { createBinder, defineChannel } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { createOutbox, createRelay } from 'concordat/outbox'
import { Kafka, logLevel } from 'kafkajs'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkaOn } from '../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { uniqueName } from './support/messages.ts'
import { createDatabase } from './support/postgres.ts'

describeWith(['postgres', 'kafka'], "an outbox whose topic is missing, with provision: 'check'", () => {
  it('keeps its messages, and sends each once and in order when the topic is there', async () => {
    const kafka = serverUrl('kafka') as string
    const admin = new Kafka({ brokers: [kafka], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    onTestFinished(() => admin.disconnect())
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const { sql } = database
    const channel = defineChannel(uniqueName('missing'), { payload: z.number(), key: () => 'k', partitions: 1 })
    const outbox = createOutbox({ service: 'shop', sql })
    await outbox.migrate()
    const binder = createBinder({ service: 'shop', transport: kafkaOn(kafka, { provision: 'check' }) })
    onTestFinished(() => binder.close())
    await binder.start()
    const backoff = { initialMs: 50, maxMs: 50 }
    const relay = createRelay({ outbox, publisher: binder, logger: silentLogger, backoff, maxAttempts: 1_000 })
    onTestFinished(() => relay.close())
    await relay.start()
    await sql.transaction(async (tx) => {
      for (const n of [0, 1, 2]) await outbox.add(tx, channel, n)
    })
    await until('it has failed several times', () => relay.health().failed >= 3)
    expect(relay.health().detail).toContain(`topic "${channel.name}" is missing. Make them`)
    expect(await outbox.stats()).toMatchObject({ pending: 3, parked: 0 })
    await admin.createTopics({ topics: [{ topic: channel.name, numPartitions: 1 }], waitForLeaders: true })
    await until('all are sent', async () => (await outbox.stats()).pending === 0)
    const [range] = await admin.fetchTopicOffsets(channel.name)
    expect(range).toMatchObject({ low: '0', high: '3' })
    const got: string[] = []
    const consumer = new Kafka({ brokers: [kafka], logLevel: logLevel.NOTHING }).consumer({ groupId: channel.name })
    onTestFinished(() => consumer.disconnect())
    await consumer.connect()
    await consumer.subscribe({ topics: [channel.name], fromBeginning: true })
    await consumer.run({ eachMessage: async ({ message }) => void got.push(String(message.value)) })
    await until('all are read', () => got.length === 3)
    expect(got).toEqual(['0', '1', '2'])
  })
})
