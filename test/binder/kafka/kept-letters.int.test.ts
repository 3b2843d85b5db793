import { randomUUID } from 'node:crypto'
import { type Binding, createBinder, deadLetterName, defineChannel, sink } from 'concordat/binder'
import { ConfigResourceTypes } from 'kafkajs'
import { expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { memoryLogger } from '../support/memory-logger.ts'
import { client } from './kit.ts'

const DRIVERS = ['kafkajs', 'platformatic'] as const
const OPEN = { kafkajs: kafkajsOn, platformatic: platformaticOn } as const

describeWith(['kafka'], 'topics of dead letters and retries on Kafka', () => {
  const url = serverUrl('kafka') as string

  async function setup(driver: (typeof DRIVERS)[number]) {
    const admin = client(url).admin()
    onTestFinished(() => admin.disconnect())
    await admin.connect()
    const channel = defineChannel(`kept-${randomUUID().slice(0, 8)}`, { payload: TestPayload, partitions: 2 })
    const letters = deadLetterName(channel.name, 'g')
    const { logger, lines } = memoryLogger()
    const start = async (binding: Binding) => {
      const binder = createBinder({ service: 's', transport: OPEN[driver](url), bindings: [binding], logger })
      onTestFinished(() => binder.close())
      await binder.start()
    }
    const make = (topic: string, config: Readonly<Record<string, string>>, numPartitions = 1) =>
      admin.createTopics({
        topics: [
          { topic, numPartitions, configEntries: Object.entries(config).map(([name, value]) => ({ name, value })) },
        ],
      })
    const configOf = async (name: string) => {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: ConfigResourceTypes.TOPIC, name }],
      })
      return Object.fromEntries(
        (resources[0]?.configEntries ?? []).map(({ configName, configValue }) => [configName, configValue]),
      )
    }
    return { channel, letters, start, make, configOf, said: (text: string) => JSON.stringify(lines).includes(text) }
  }

  it.for(DRIVERS)(
    'on %s keeps dead letters forever when their reader comes first, in one partition',
    async (driver) => {
      const { channel, letters, start, configOf } = await setup(driver)
      await start(sink(defineChannel(letters, { payload: TestPayload }), { group: 'desk' }, () => {}))
      expect(await configOf(letters)).toMatchObject({ 'retention.ms': '-1', 'retention.bytes': '-1' })
      await start(sink(channel, { group: 'g' }, () => {}))
    },
  )

  it.for(DRIVERS)('on %s warns that a topic made by another program deletes dead letters', async (driver) => {
    const { channel, letters, start, make, said } = await setup(driver)
    await make(letters, { 'retention.ms': '3600000' })
    await start(sink(channel, { group: 'g' }, () => {}))
    expect(said(`${letters} deletes dead letters (retention.ms=3600000)`)).toBe(true)
  })

  it.for(DRIVERS)(
    'on %s refuses a compacted topic, which would keep only the last dead letter of a key',
    async (driver) => {
      const { channel, letters, start, make } = await setup(driver)
      await make(letters, { 'cleanup.policy': 'compact' })
      await expect(start(sink(channel, { group: 'g' }, () => {}))).rejects.toMatchObject({
        kind: 'mismatch',
        retryable: false,
        destination: letters,
        message: expect.stringContaining('--add-config cleanup.policy=delete'),
      })
    },
  )

  it.for(DRIVERS)('on %s warns that a topic made by another program deletes delayed messages', async (driver) => {
    const { channel, start, make, said } = await setup(driver)
    const delays = `${channel.name}.g.retry.delay`
    await make(delays, { 'retention.ms': '3600000', 'retention.bytes': '1000' }, 11)
    await start(sink(channel, { group: 'g', retry: 'delayed' }, () => {}))
    expect(
      said(`${delays} deletes delayed messages that are not due (retention.ms=3600000, retention.bytes=1000)`),
    ).toBe(true)
  })

  it.for(DRIVERS)('on %s warns that retries are deleted before the messages of their channel', async (driver) => {
    const { channel, start, make, said } = await setup(driver)
    await make(channel.name, { 'retention.ms': '7200000' }, 2)
    await make(`${channel.name}.g.retry`, { 'retention.ms': '3600000' }, 2)
    await start(sink(channel, { group: 'g', retry: 'delayed' }, () => {}))
    expect(said('retention.ms=3600000, there 7200000')).toBe(true)
    expect(said(`${channel.name}.g.retry.delay deletes`)).toBe(false)
  })
})
