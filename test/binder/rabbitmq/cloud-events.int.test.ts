import { connect, type GetMessage } from 'amqplib'
import { CloudEvent, type CloudEventV1, HTTP } from 'cloudevents'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, freshDestination, Recorder, subscribe } from './kit.ts'
import { plainMessage } from './messages.ts'

/** Converts by the AMQP binding, for which the SDK has no code: prefixed application properties, content type. */
function toEvent({ content, properties }: GetMessage): CloudEvent<string> {
  const attributes = Object.entries(properties.headers ?? {}).flatMap(([name, value]) =>
    name.startsWith('cloudEvents:') ? [[name.slice('cloudEvents:'.length), value as unknown]] : [],
  )
  const fields = Object.fromEntries(attributes) as Partial<CloudEventV1<string>>
  return new CloudEvent({ ...fields, datacontenttype: properties.contentType as string, data: content.toString() })
}

describeWith(['rabbitmq'], 'CloudEvents on RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  async function channel() {
    const connection = await connect(url)
    onTestFinished(() => connection.close())
    return connection.createConfirmChannel()
  }

  it('a message that we send is a valid event by the AMQP binding', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url, ['g'], 1)
    await transport.provision([{ name: destination, partitions: 1, groups: ['g'] }])
    await transport.publish([plainMessage({ destination, key: 'o-1', headers: { tenant: 'acme' } })])
    const raw = await channel()
    const message = await raw.get(`${destination}:g`, { noAck: true })
    if (message === false) throw new Error('nothing there')
    const event = toEvent(message)
    expect(event.validate()).toBe(true)
    expect(event).toMatchObject({
      specversion: '1.0',
      id: 'm1',
      source: 'tests',
      type: 'orders.placed',
      time: '2026-11-20T08:00:00.250Z',
      partitionkey: 'o-1',
      datacontenttype: 'application/json',
      data: '{}',
    })
    expect(message.properties.headers).toMatchObject({ tenant: 'acme' })
  })

  it('events of other programs are read, in binary and in structured mode', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url, ['g'], 1)
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder, { partitions: 1 })
    const event = new CloudEvent({
      id: 'e1',
      source: '/shop/1',
      type: 'com.shop.placed',
      time: '2026-11-20T10:00:00.000+02:00',
      datacontenttype: 'application/json',
      subject: 'order 7',
      partitionkey: 'order-7',
      data: { orderId: 'o-1' },
    })
    const { data, datacontenttype, ...attributes } = event.toJSON() as Record<string, unknown>
    const prefixed = (prefix: string) =>
      Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`${prefix}${name}`, value]))
    const structured = HTTP.structured(event.cloneWith({ id: 'e1' }))
    const raw = await channel()
    const send = (content: unknown, options: object): boolean =>
      raw.publish(destination, '0', Buffer.from(String(content)), options)
    send(JSON.stringify(data), { contentType: datacontenttype, headers: prefixed('cloudEvents_') })
    send(JSON.stringify(data), { contentType: datacontenttype, headers: prefixed('cloudEvents:') })
    send(structured.body, { contentType: 'application/cloudevents+json; charset=utf-8', headers: { tenant: 'acme' } })
    await raw.waitForConfirms()
    await until('all came', () => recorder.got.length === 3)
    for (const { message } of recorder.got) {
      expect(message).toMatchObject({
        id: 'e1',
        source: '/shop/1',
        type: 'com.shop.placed',
        time: Date.UTC(2026, 10, 20, 8),
        contentType: 'application/json',
        key: 'order-7',
        headers: { subject: 'order 7' },
      })
      expect(Buffer.from(message.body ?? []).toString()).toBe('{"orderId":"o-1"}')
    }
    expect(recorder.got[2]?.message.headers['tenant']).toBe('acme')
  })
})
