import { Kafka, logLevel } from 'kafkajs'
import { beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { commitPositions } from '../../support/inside/binder.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

describeWith(['kafka'], 'positions of a group on kafkajs', () => {
  let kafka: Kafka
  beforeAll(() => {
    kafka = new Kafka({ brokers: [serverUrl('kafka') as string], logLevel: logLevel.NOTHING })
  })

  const setup = async (topic: string) => {
    const admin = kafka.admin()
    await admin.connect()
    onTestFinished(() => admin.disconnect())
    await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
    return admin
  }
  const positions = new Map([
    [0, 3],
    [1, 0],
    [2, 7],
  ])

  it('are committed without members, and the group is left without the wait of a fetch, so that members can join', async () => {
    const admin = await setup('placed')
    const consumers = vi.spyOn(kafka, 'consumer')
    onTestFinished(() => consumers.mockRestore())
    expect(await commitPositions(kafka, 'placed-group', 'placed', positions)).toBe(true)
    // The wait for which it stays in the group: 5 s in admin.setOffsets.
    expect(consumers.mock.calls.map(([config]) => config?.maxWaitTimeInMs)).toEqual([10])
    const [found] = await admin.fetchOffsets({ groupId: 'placed-group', topics: ['placed'] })
    expect(new Map(found?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))).toEqual(positions)
    const { groups } = await admin.describeGroups(['placed-group'])
    expect(groups.map(({ state }) => state)).toEqual(['Empty'])
  })

  it('are left to the members of a group that has some', async () => {
    const admin = await setup('read')
    const consumer = kafka.consumer({ groupId: 'read-group' })
    await consumer.connect()
    onTestFinished(() => consumer.disconnect())
    await consumer.subscribe({ topic: 'read' })
    await consumer.run({ eachMessage: () => Promise.resolve() })
    const states = async () => (await admin.describeGroups(['read-group'])).groups.map(({ state }) => state)
    await until('it has joined', async () => (await states())[0] === 'Stable', 30_000)
    expect(await commitPositions(kafka, 'read-group', 'read', positions)).toBe(false)
    expect(await states()).toEqual(['Stable'])
  })

  it('cannot be committed to a topic that does not exist', async () => {
    await expect(commitPositions(kafka, 'lost-group', 'no-such-topic', positions)).rejects.toThrow()
  })
})
