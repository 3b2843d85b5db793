import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { silentLogger, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { withDeadline } from '../../../support/deadline.ts'
import { kafkajsOn, platformaticOn } from '../../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { client, freshTopic, KEYS, numbered, Recorder, range, subscribe } from '../kit.ts'

const url = (): string => serverUrl('kafka') as string

function opened(transport: Transport): Transport {
  transport.attach({ service: 'remade', instance: 'remade-1', logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return withDeadline(transport, 30_000, systemClock)
}

/** Deletes the topic and creates an empty one of the same name. */
async function remake(transport: Transport, topic: string): Promise<void> {
  const admin = client(url()).admin()
  await admin.connect()
  onTestFinished(() => admin.disconnect())
  await admin.deleteTopics({ topics: [topic] })
  await until('it is gone', async () => !(await admin.listTopics()).includes(topic))
  await until('it is there', () =>
    transport.provision([{ name: topic, partitions: 4, groups: [] }]).then(
      () => true,
      () => false,
    ),
  )
}

async function send(transport: Transport, topic: string, count: number, from: number): Promise<void> {
  expect(await transport.publish(numbered(topic, count, KEYS, from))).toEqual(range(count).map(() => undefined))
}

describeWith(['kafka'], 'a topic that is deleted and made again', () => {
  it('is read from its beginning by a member that runs', async () => {
    const transport = opened(platformaticOn(url()))
    const topic = await freshTopic(transport)
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await send(transport, topic, 40, 0)
    await until('they came', () => recorder.got.length === 40)
    await until('they are committed', async () => (await lagOf(transport, topic)) === 0)
    await remake(transport, topic)
    await send(transport, topic, 100, 1_000)
    await until('they came', () => new Set(recorder.numbers.filter((n) => n >= 1_000)).size === 100)
  })

  it.for([
    ['kafkajs', kafkajsOn],
    ['platformatic', platformaticOn],
  ] as const)('is read from its beginning by a group that did not run in between: %s', async ([, on]) => {
    const transport = opened(on(url()))
    const topic = await freshTopic(transport)
    const [before, after] = [new Recorder(), new Recorder()]
    const subscription = await subscribe(transport, topic, before)
    await send(transport, topic, 40, 0)
    await until('they came', () => before.got.length === 40)
    await subscription.close()
    await remake(transport, topic)
    await send(transport, topic, 100, 1_000)
    await subscribe(transport, topic, after)
    await until('they came', () => after.got.length === 100)
  })
})

describeWith(['kafka'], 'a topic that is deleted', () => {
  it.for([
    ['kafkajs', kafkajsOn],
    ['platformatic', platformaticOn],
  ] as const)('is made again by the member that reads it: %s', { timeout: 120_000 }, async ([, on]) => {
    const name = `deleted-${randomUUID().slice(0, 8)}`
    const channel = defineChannel(name, { payload: z.number(), partitions: 1 })
    const got: number[] = []
    const bindings = [sink(channel, { group: 'g' }, (n) => void got.push(n))]
    const binder = createBinder({ service: 'remade', transport: on(url()), bindings, logger: silentLogger })
    const admin = client(url()).admin()
    await admin.connect()
    onTestFinished(async () => {
      await binder.close()
      await admin.deleteTopics({ topics: [name, `${name}.g.dlq`] })
      await admin.disconnect()
    })
    await binder.start()
    await binder.send(channel, 1)
    await until('it came', () => got.includes(1))
    await admin.deleteTopics({ topics: [name] })
    await until('it is gone', async () => !(await admin.listTopics()).includes(name))
    await until('it is made again', async () => (await admin.listTopics()).includes(name), 60_000)
    await until('it is read', () => binder.binding(`${name}.g`).status().state === 'running', 30_000)
    await binder.send(channel, 2)
    await until('it came', () => got.includes(2))
  })
})

function lagOf(transport: Transport, topic: string): Promise<number> {
  return transport.lag?.({ destination: topic, partitions: 4, group: 'g' }) ?? Promise.resolve(-1)
}
