// oxlint-disable no-restricted-imports -- inside of the adapter: no transport leaves one of its queues on request
import { expect, test } from 'vitest'
import { MessageLending } from '../../../../binder/rabbitmq/consuming/message-lending.ts'
import { QueueConsumer } from '../../../../binder/rabbitmq/consuming/queue-consumer.ts'
import type { AmqpChannel, AmqpMessage } from '../../../../binder/rabbitmq/link/amqplib-types.ts'
import { fromAmqp } from '../../../../binder/rabbitmq/wire/envelope.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'

type Listener = (message: AmqpMessage | null) => void

/** Two queues in one window of a single message, with the queue of each lent message. */
async function setup() {
  const delivered: string[] = []
  const listeners: Listener[] = []
  const channel = {
    on: () => undefined,
    prefetch: async () => undefined,
    consume: async (_queue: string, listener: Listener) => {
      listeners.push(listener)
      return { consumerTag: 'me' }
    },
    ack: () => undefined,
  } as unknown as AmqpChannel
  const host: ConstructorParameters<typeof QueueConsumer>[2] = {
    clock: new FakeClock(),
    read: (message) => fromAmqp(message, 'orders', 0),
    consumerTag: 'me',
    closed: (queue) => new Error(`the channel of ${queue} was closed`),
    holdsAcks: false,
    isCertain: () => true,
    openChannel: async () => channel,
    closeChannel: async () => {},
    arrived: (consumer, delivery) => lending.arrived(consumer, delivery),
    ended: (_, { bytes }, returned) => lending.ended(bytes, returned),
    dropped: (...counts) => lending.dropped(...counts),
    broken: () => {},
  }
  const consumers = ['first', 'second'].map((queue) => new QueueConsumer(queue, 1, host))
  const lending = new MessageLending({ prefetch: 1, prefetchBytes: 1_000 }, consumers, {
    mayLend: () => true,
    deliver: ({ position }) => void delivered.push(position),
  })
  for (const consumer of consumers) await consumer.open()
  for (const listener of listeners)
    listener({ content: new Uint8Array(), fields: { deliveryTag: 1, redelivered: false }, properties: {} })
  return { consumers, delivered }
}

test('a queue that is left makes room in the window for a message that waits in another', async () => {
  const { consumers, delivered } = await setup()
  expect(delivered).toEqual(['queue first delivery 1'])

  await consumers[0]?.leave()
  await drain()
  expect(delivered).toEqual(['queue first delivery 1', 'queue second delivery 1'])
})
