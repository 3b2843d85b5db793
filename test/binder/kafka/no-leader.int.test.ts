import { randomUUID } from 'node:crypto'
import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { Kafka, logLevel } from 'kafkajs'
import { it, onTestFinished } from 'vitest'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'
import { startKafkaCluster } from '../../support/servers/cluster/index.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { numbered, Recorder, subscribe } from './kit.ts'

const MINUTE_MS = 60_000
/** Keys that map to each of three partitions, in partition order. */
const KEYS = ['f', 'a', 'b'] as const

function opened(transport: Transport): Transport {
  transport.attach({ service: 'tests', instance: 'tests-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return transport
}

/** Partition n has its only copy on broker n + 1. */
const alone = (topic: string) => ({
  topic,
  replicaAssignment: [1, 2, 3].map((id) => ({ partition: id - 1, replicas: [id] })),
  configEntries: [{ name: 'min.insync.replicas', value: '1' }],
})

const partitionsOf = ({ got }: Recorder) => new Set(got.map(({ position }) => position.split(' ')[1]))

describeWith(['kafka'], 'a partition whose only broker is down', () => {
  it(
    'stops neither the other partitions nor a group whose dead letters it holds',
    async ({ expect }) => {
      const cluster = await startKafkaCluster()
      onTestFinished(() => cluster.stop())
      const retry = { retries: 0 }
      const admin = new Kafka({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING, retry }).admin()
      await admin.connect()
      onTestFinished(() => admin.disconnect())
      const [topic, whole] = [`partly-${randomUUID()}`, `whole-${randomUUID()}`] as const
      const letters = `${whole}.g.dlq`
      await admin.createTopics({ topics: [alone(topic), alone(letters), { topic: whole, numPartitions: 3 }] })
      const brokers = cluster.brokers.join(',')
      const sender = opened(platformaticOn(brokers))
      for (const name of [topic, whole]) {
        const sent = numbered(name, 24, KEYS)
        expect(await sender.publish(sent)).toEqual(sent.map(() => undefined))
      }
      await cluster.servers[2]?.kill()
      await until('it has no leader', () =>
        admin.fetchTopicMetadata({ topics: [topic] }).then(
          () => false,
          (error: unknown) => String(error).includes('There is no leader'),
        ),
      )
      for (const driver of [platformaticOn, kafkajsOn]) {
        const transport = opened(driver(brokers))
        await transport.provision([
          { name: whole, partitions: 3, groups: ['g'] },
          { name: letters, partitions: 3, groups: [], deadLetters: true },
        ])
        const recorder = new Recorder()
        await subscribe(transport, whole, recorder, { group: driver.name, partitions: 3 })
        await until(`${driver.name} reads the topic`, () => recorder.got.length === 24, MINUTE_MS)
      }
      const partly = new Recorder()
      await subscribe(sender, topic, partly, { partitions: 3 })
      await until('the other partitions are read', () => partitionsOf(partly).size === 2, MINUTE_MS)
      expect(partitionsOf(partly)).toEqual(new Set(['0', '1']))
    },
    4 * MINUTE_MS,
  )
})
