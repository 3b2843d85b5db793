import { randomUUID } from 'node:crypto'
import { Connection } from '@platformatic/kafka'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../../conformance/transport-kit.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { memoryLogger } from '../../support/memory-logger.ts'
import { client } from '../kit.ts'

const DRIVERS = ['kafkajs', 'platformatic'] as const

describeWith(['kafka'], 'a group of Kafka that does not continue at its position', () => {
  const url = serverUrl('kafka') as string
  const open = (driver: (typeof DRIVERS)[number]) =>
    driver === 'kafkajs'
      ? kafkaTransport({ kafka: client(url) })
      : platformaticTransport({ kafka: { Connection, bootstrapBrokers: [url.replace(/^.*:\/\//, '')] } })

  async function admin() {
    const connection = client(url).admin()
    onTestFinished(() => connection.disconnect())
    await connection.connect()
    return connection
  }

  /** A topic with 50 records, and how to start its group. */
  async function setup(driver: (typeof DRIVERS)[number]) {
    const name = `displaced-${randomUUID().slice(0, 8)}`
    const channel = defineChannel(name, { payload: TestPayload, partitions: 1, groups: ['g'] })
    const sender = createBinder({ service: 'shop', transport: open(driver), sends: [channel] })
    onTestFinished(() => sender.close())
    await sender.start()
    await sender.sendBatch(
      channel,
      Array.from({ length: 50 }, (_, n) => ({ key: 'k', n })),
    )
    const got: number[] = []
    const { logger, lines } = memoryLogger()
    const start = async () => {
      const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
      const binder = createBinder({ service: 'shop', transport: open(driver), bindings: [work], logger })
      onTestFinished(() => binder.close())
      await binder.start()
      return binder
    }
    const said = (text: string): boolean => lines.some((line) => String(line[1]).includes(text))
    return { name, groupId: `g.${name}`, got, start, said }
  }

  it.for(DRIVERS)(
    'on %s reports the number of messages that retention has deleted before they were read',
    async (driver) => {
      const { name, groupId, got, start, said } = await setup(driver)
      const connection = await admin()
      await connection.setOffsets({ groupId, topic: name, partitions: [{ partition: 0, offset: '3' }] })
      await connection.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '45' }] })
      const binder = await start()
      await until('the rest came', () => got.length === 5)
      expect(binder.bindings()[0]).toMatchObject({ state: 'running', skipped: 42 })
      expect(said('messages are lost: partition 0')).toBe(true)
    },
  )

  it.for(DRIVERS)('on %s reports that its position is past the end', async (driver) => {
    const { name, groupId, got, start, said } = await setup(driver)
    const connection = await admin()
    await connection.setOffsets({ groupId, topic: name, partitions: [{ partition: 0, offset: '5000' }] })
    const binder = await start()
    await until('all came again', () => got.length === 50)
    expect(binder.bindings()[0]).toMatchObject({ repeated: 50 })
    expect(said('past the end')).toBe(true)
  })

  it.for(DRIVERS)('on %s reports that it has no offsets on a topic with messages', async (driver) => {
    const { got, start, said } = await setup(driver)
    const binder = await start()
    await until('all came', () => got.length === 50)
    expect(binder.bindings()[0]).toMatchObject({ repeated: 50 })
    expect(said('has no committed offset')).toBe(true)
  })
})
