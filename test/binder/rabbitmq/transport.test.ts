import { expect, it } from 'vitest'
import { FakeBroker } from './fake-broker.ts'
import { attached, Recorder, subscribe } from './kit.ts'

it.for(['bindQueue', 'consume'])('an anonymous subscription whose %s is refused leaves no queue', async (method) => {
  const broker = new FakeBroker()
  const transport = attached({ connect: broker.connect })
  await transport.provision([{ name: 'orders', partitions: 4, groups: [] }])
  const before = broker.queues().map(({ name }) => name)
  broker.forbidden.add(method)
  const anonymous = (): Promise<unknown> => subscribe(transport, 'orders', Recorder.keeping(), { group: null })
  await expect(anonymous()).rejects.toMatchObject({ code: 'binder.transport' })
  expect(broker.queues().map(({ name }) => name)).toEqual(before)
  broker.forbidden.clear()
  await anonymous()
  expect(broker.queues()).toHaveLength(before.length + 1)
})

it.for<[given: unknown, got: string]>([
  [Promise.resolve(undefined), 'got undefined'],
  [Promise.resolve({ connection: {} }), 'got another object'],
  [undefined, 'got undefined'],
])('a RabbitMQ connection is not tried again when `connect` gives no connection: %#', async ([given, got]) => {
  let asked = 0
  const transport = attached({ connect: () => (asked++, given) as never })
  await expect(transport.provision([{ name: 'orders', partitions: 1, groups: [] }])).rejects.toMatchObject({
    kind: 'mismatch',
    retryable: false,
    message: expect.stringMatching(`^rabbitTransport.connect: expected what amqplib.connect\\(url\\) gives, ${got}`),
  })
  expect(transport.health()).toMatchObject({ status: 'down', detail: expect.stringContaining(got) })
  expect(asked).toBe(1)
})
