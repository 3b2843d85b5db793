import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, redrive, sink, TerminalError } from 'concordat/binder'
import kafkajs from 'kafkajs'
import { it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { client } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

interface Place {
  readonly key: string | undefined
  readonly partition: number
  readonly contentType: string | undefined
}

/** All records of a topic, with keys in hexadecimal, as they come. */
async function recordsOf(topic: string): Promise<readonly Place[]> {
  const consumer = client(url()).consumer({ groupId: randomUUID() })
  const found: Place[] = []
  await consumer.connect()
  onTestFinished(() => consumer.disconnect())
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: ({ partition, message: { key, headers } }) => {
      const contentType = headers?.['content-type']?.toString()
      found.push({ key: key?.toString('hex'), partition, contentType })
      return Promise.resolve()
    },
  })
  return found
}

describeWith(['kafka'], 'Kafka and keys that are bytes', () => {
  it.for(['blocking', 'delayed'] as const)(
    'keep bytes and partition through %s retry, dead letter and redrive',
    async (retry, { expect }) => {
      const name = `kf-${randomUUID().slice(0, 8)}`
      const channel = defineChannel(name, { payload: z.object({ n: z.number() }), partitions: 4 })
      let calls = 0
      let isFixed = false
      const handler = (): void => {
        calls++
        if (!isFixed) throw calls > 1 ? new TerminalError('no') : new Error('again')
      }
      const binder = createBinder({
        service: 'keys',
        transport: kafkaOn(url()),
        bindings: [sink(channel, { group: 'g', retry, maxAttempts: 2, backoff: { initialMs: 10 } }, handler)],
      })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready()
      const producer = client(url()).producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
      await producer.connect()
      onTestFinished(() => producer.disconnect())
      const key = Buffer.from([0xff, 0xfe, 0])
      const headers = { contentType: 'application/json' }
      const [sent] = await producer.send({ topic: name, messages: [{ key, value: '{"n":1}', headers }] })
      const records = await recordsOf(name)
      const letters = await recordsOf(`${name}.g.dlq`)
      await until('it is a dead letter', () => letters.length === 1)
      expect(letters[0]).toEqual({ key: 'fffe00', partition: 0, contentType: 'application/json' })
      if (retry === 'delayed') {
        const retries = await recordsOf(`${name}.g.retry`)
        await until('the retry is read', () => retries.length === 1)
        expect(retries[0]).toMatchObject({ key: 'fffe00', partition: sent?.partition })
      }
      isFixed = true
      const operator = { service: 'operator', transport: kafkaOn(url()) }
      expect(await redrive(operator, channel, 'g')).toMatchObject({ sent: 1, complete: true })
      await until('it is handled', () => calls === 3)
      await until('it came back', () => records.length === 2)
      expect(records.map(({ key: each, partition }) => [each, partition])).toEqual([
        ['fffe00', sent?.partition],
        ['fffe00', sent?.partition],
      ])
    },
  )
})
