/** Topics whose broker writes down when it got a record (`message.timestamp.type=LogAppendTime`), as some clusters do by default. */
import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { CompressionTypes } from 'kafkajs'
import { it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkajsOn, platformaticOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { client } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

describeWith(['kafka'], 'a topic with LogAppendTime', () => {
  it.for([
    ['kafkajs', kafkajsOn],
    ['platformatic', platformaticOn],
  ] as const)('is read: %s', async ([, kafkaOn], { expect }) => {
    const name = `ka-${randomUUID().slice(0, 8)}`
    const channel = defineChannel(name, { payload: z.object({ n: z.number() }), partitions: 1, tombstones: true })
    const got: unknown[] = []
    const binder = createBinder({
      service: 'stamped',
      transport: kafkaOn(url(), { topicConfig: { 'message.timestamp.type': 'LogAppendTime' } }),
      bindings: [sink(channel, { group: 'g' }, (payload, { key }) => void got.push([key, payload]))],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    const producer = client(url()).producer()
    await producer.connect()
    onTestFinished(() => producer.disconnect())

    await binder.send(channel, { n: 1 }, { key: 'a' })
    const packed = Array.from({ length: 20 }, (_, n) => ({ key: 'b', value: JSON.stringify({ n }) }))
    await producer.send({ topic: name, compression: CompressionTypes.GZIP, messages: packed })
    await producer.send({ topic: name, messages: [{ key: '42', value: null }] })
    await binder.send(channel, { n: 2 }, { key: 'c', delayMs: 300 })

    await until('all have come', () => got.length === 23, 20_000)
    const rest = Array.from({ length: 20 }, (_, n) => ['b', { n }])
    expect(got).toEqual([['a', { n: 1 }], ...rest, ['42', null], ['c', { n: 2 }]])
  })
})
