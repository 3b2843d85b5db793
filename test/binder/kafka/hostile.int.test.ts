import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { Kafka, logLevel } from 'kafkajs'
import { it, onTestFinished } from 'vitest'
import { type HostileHarness, hostileCases, type RawMessage } from '../../conformance/hostile.ts'
import { deadLettersOf, TestPayload } from '../../conformance/transport-kit.ts'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { client } from './kit.ts'

const url = (): string => serverUrl('kafka') as string
/** More than the default, so that 10 MB can be sent at all. */
const topicConfig = { 'max.message.bytes': '20000000' }

async function rawSender(): Promise<HostileHarness['send'] & { close(): Promise<void> }> {
  const producer = client(url()).producer()
  await producer.connect()
  const send = async (topic: string, messages: readonly RawMessage[]): Promise<void> => {
    for (const { body, headers = [], contentType } of messages) {
      const all = contentType === undefined ? headers : [...headers, ['content-type', contentType] as const]
      const own = Object.fromEntries(all.map(([name, value]) => [name, Buffer.from(value)]))
      await producer.send({ topic, acks: -1, messages: [{ key: 'k', value: Buffer.from(body), headers: own }] })
    }
  }
  return Object.assign(send, { close: () => producer.disconnect() })
}

describeWith(['kafka'], 'Kafka and messages of bare kafkajs', () => {
  hostileCases('Kafka', async () => {
    const send = await rawSender()
    return {
      transport: () => kafkaOn(url(), { topicConfig }),
      send,
      limits: { headers: 10_000, headerBytes: 1_000_000, bodyBytes: 10_000_000 },
      close: () => send.close(),
    }
  })

  it('drops headers beyond the limit of the dead letter topic, and halts when the body does not fit', async ({
    expect,
  }) => {
    const name = `h${randomUUID().slice(0, 8)}`
    const admin = new Kafka({ brokers: [url()], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    onTestFinished(() => admin.disconnect())
    const small = { configEntries: [{ name: 'max.message.bytes', value: '20000' }] }
    await admin.createTopics({ topics: [{ topic: `${name}.g.dlq`, numPartitions: 1, ...small }], waitForLeaders: true })
    const channel = defineChannel(name, { payload: TestPayload, partitions: 1, groups: ['g'] })
    const binder = createBinder({
      service: 'hostile',
      transport: kafkaOn(url()),
      bindings: [sink(channel, { group: 'g' }, () => {})],
      sends: [deadLettersOf(channel, 'g')],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    const send = await rawSender()
    onTestFinished(() => send.close())
    const body = new Uint8Array(10_000).fill(1)
    await send(name, [
      {
        body,
        headers: [
          ['bomb', 'x'.repeat(15_000)],
          ['huge', 'x'.repeat(9_000)],
          ['mine', 'm'],
        ],
      },
    ])
    const control = binder.binding(`${name}.g`)
    await until('it is a dead letter', () => control.status().deadLettered === 1)
    await send(name, [{ body: new Uint8Array(50_000) }])
    await until('it halts', () => control.status().state === 'halted')
    expect(control.status().error).toContain('failed for good')
    await admin.deleteTopics({ topics: [`${name}.g.dlq`] })
    await until('the small topic is gone', async () => !(await admin.listTopics()).includes(`${name}.g.dlq`))
    await control.start()
    await until('it went on where it was', () => control.status().deadLettered === 2)
  })
})
