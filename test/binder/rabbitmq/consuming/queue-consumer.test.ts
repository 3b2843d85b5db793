// oxlint-disable no-restricted-imports -- inside of the adapter: through a broker only a kill at the right moment shows it
import { expect, test } from 'vitest'
import type { RabbitDelivery } from '../../../../binder/rabbitmq/consuming/delivery.ts'
import { QueueConsumer } from '../../../../binder/rabbitmq/consuming/queue-consumer.ts'
import type { AmqpChannel, AmqpMessage, AmqpTag } from '../../../../binder/rabbitmq/link/amqplib-types.ts'
import { fromAmqp } from '../../../../binder/rabbitmq/wire/envelope.ts'
import { FakeClock } from '../../../support/locks/fake-clock.ts'

/** Consumer on a channel that plays the broker and records the messages delivered and dropped. */
async function setup(messages: number, holdsAcks = false) {
  const clock = new FakeClock()
  const unacked = new Set<number>()
  let onMessage: (message: AmqpMessage | null) => void = () => {}
  const channel = {
    on: () => undefined,
    prefetch: async () => undefined,
    consume: async (_queue: string, listener: typeof onMessage) => {
      onMessage = listener
      return { consumerTag: 'me' }
    },
    ack: ({ fields }: AmqpTag, allUpTo?: boolean) => {
      for (const tag of unacked)
        if (tag === fields.deliveryTag || (allUpTo && tag < fields.deliveryTag)) unacked.delete(tag)
    },
  } as unknown as AmqpChannel
  const consumer = new QueueConsumer('orders', 100, {
    read: (message) => fromAmqp(message, 'orders', 0),
    consumerTag: 'me',
    closed: (queue: string) => new Error(`the channel of ${queue} was closed`),
    clock,
    holdsAcks,
    isCertain: () => true,
    openChannel: async () => channel,
    closeChannel: async () => {},
    arrived: () => {},
    ended: () => {},
    dropped: () => {},
    broken: () => {},
  })
  await consumer.open()
  for (let deliveryTag = 1; deliveryTag <= messages; deliveryTag++) {
    unacked.add(deliveryTag)
    onMessage({ content: new Uint8Array(), fields: { deliveryTag, redelivered: false }, properties: {} })
  }
  const take = (): RabbitDelivery => consumer.take() as RabbitDelivery
  return { consumer, clock, unacked, take, lent: Array.from({ length: messages }, take) }
}

test('a message that was given back and lent again is not acknowledged with a later one', async () => {
  const { consumer, unacked, take, lent } = await setup(4)

  lent[1]?.release()
  const again = take()
  lent[0]?.ack()
  lent[2]?.ack()
  consumer.flush()
  expect([...unacked]).toEqual([2, 4])

  again.ack()
  consumer.flush()
  expect([...unacked]).toEqual([4])
})

test('acks that are kept back to limit memory leave within 10 s of the first', async () => {
  const { clock, unacked, lent } = await setup(3, true)

  lent[0]?.ack()
  await clock.advance(9_000)
  lent[1]?.ack()
  expect([...unacked]).toEqual([1, 2, 3])
  await clock.advance(1_000)
  expect([...unacked]).toEqual([3])

  lent[2]?.ack()
  await clock.advance(9_000)
  expect([...unacked]).toEqual([3])
  await clock.advance(1_000)
  expect([...unacked]).toEqual([])
})
