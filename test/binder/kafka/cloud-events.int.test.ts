import { randomUUID } from 'node:crypto'
import { CloudEvent, Kafka as KafkaBinding } from 'cloudevents'
import { it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, client, freshTopic, plainMessage, Recorder, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

interface Plain {
  readonly key: string | null
  readonly value: Buffer | null
  readonly headers: Record<string, string>
}

/** Reads a topic as another program does. */
async function readAll(topic: string, count: number): Promise<readonly Plain[]> {
  const got: Plain[] = []
  const consumer = client(url()).consumer({ groupId: `plain.${topic}`, maxWaitTimeInMs: 100 })
  onTestFinished(() => consumer.disconnect())
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message: { key, value, headers = {} } }) => {
      const texts = Object.entries(headers).map(([name, header]) => [name, String(header)])
      got.push({ key: key === null ? null : String(key), value, headers: Object.fromEntries(texts) })
    },
  })
  await until('all were read', () => got.length >= count)
  return got
}

async function write(topic: string, messages: ReadonlyArray<{ key?: unknown; value?: unknown; headers?: unknown }>) {
  const producer = client(url()).producer()
  onTestFinished(() => producer.disconnect())
  await producer.connect()
  await producer.send({ topic, acks: -1, messages: messages as never })
}

/** The SDK has headers of `undefined`, which kafkajs does not write. */
function present(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined))
}

describeWith(['kafka'], 'CloudEvents on Kafka', () => {
  it('the official SDK reads our events', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const body = new TextEncoder().encode('{"orderId":"o-1"}')
    await transport.publish([
      plainMessage({ id: 'm1', destination: topic, type: 'orders.placed', source: 'shop', key: 'o-1', body }),
      plainMessage({
        id: 'm2',
        destination: topic,
        contentType: 'text/plain; charset=utf-8',
        headers: { tenant: 'a' },
      }),
    ])
    const [first, second] = await readAll(topic, 2)
    const event = KafkaBinding.toEvent(first as never) as CloudEvent<unknown>
    expect(event.validate()).toBe(true)
    expect(event).toMatchObject({
      specversion: '1.0',
      id: 'm1',
      type: 'orders.placed',
      source: 'shop',
      time: '2026-11-20T08:00:00.250Z',
      datacontenttype: 'application/json',
      partitionkey: 'o-1',
      data: { orderId: 'o-1' },
    })
    const text = KafkaBinding.toEvent(second as never) as CloudEvent<unknown>
    expect(text).toMatchObject({ id: 'm2', datacontenttype: 'text/plain; charset=utf-8' })
    expect(String(text.data)).toBe('{}')
  })

  it('we read events of the official SDK, in binary and in structured mode', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const event = new CloudEvent({
      id: 'e1',
      source: '/shop/1',
      type: 'com.shop.placed',
      time: '2026-11-20T10:00:00.000+02:00',
      datacontenttype: 'application/json',
      subject: 'order 7',
      partitionkey: 'order-7',
      tenant: 'acme',
      data: { orderId: 'o-1' },
    })
    const binary = KafkaBinding.binary(event)
    const structured = KafkaBinding.structured(event.cloneWith({ id: 'e2' }))
    const bytes = new CloudEvent({
      id: 'e3',
      source: 's',
      type: 't',
      datacontenttype: 'image/png',
      data: new Uint8Array([0, 255]),
    })
    await write(topic, [
      { ...binary, value: JSON.stringify(binary.value), headers: present(binary.headers) },
      { ...structured },
      { ...KafkaBinding.structured(bytes) },
    ])
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await until('all came', () => recorder.got.length === 3)
    const [one, two, three] = recorder.got.map(({ message }) => message)
    for (const message of [one, two]) {
      expect(message).toMatchObject({
        source: '/shop/1',
        type: 'com.shop.placed',
        time: Date.UTC(2026, 10, 20, 8),
        contentType: 'application/json',
        key: 'order-7',
        headers: { subject: 'order 7', tenant: 'acme' },
      })
      expect(Buffer.from(message?.body ?? []).toString()).toBe('{"orderId":"o-1"}')
    }
    expect([one?.id, two?.id, three?.id]).toEqual(['e1', 'e2', 'e3'])
    expect(three).toMatchObject({ contentType: 'image/png', key: null, body: new Uint8Array([0, 255]) })
  })

  it('a record without anything is a message, with the same id each time it comes', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const long = randomUUID().repeat(10)
    await write(topic, [
      { value: 'plain' },
      { value: null, key: Buffer.from([0xff, 0x00]) },
      { value: 'long', headers: { ce_id: long, ce_time: 'yesterday', ce_source: '', tags: ['a', 'b'] } },
    ])
    const seen = async (group: string) => {
      const recorder = new Recorder()
      const subscription = await subscribe(transport, topic, recorder, { group })
      await until('all came', () => recorder.got.length >= 3)
      await subscription.close()
      return recorder.got.map(({ message }) => message)
    }
    const [first, again] = [await seen('one'), await seen('two')]
    expect(first.map(({ id }) => id)).toEqual([
      expect.stringMatching(new RegExp(`^${topic}/0/0/\\d{13}$`)),
      expect.stringMatching(new RegExp(`^${topic}/0/1/\\d{13}$`)),
      expect.stringMatching(/^sha256-/),
    ])
    expect(again).toEqual(first)
    expect(first[1]).toMatchObject({ key: 'base64:/wA=', body: null })
    expect(first[2]?.headers).toEqual({ tags: 'b' })
  })
})
