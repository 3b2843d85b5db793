import { MINUTE, systemClock } from 'concordat/core'
import { expect, it } from 'vitest'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { KafkaPublisher, ProducerSlot } from './inside.ts'
import { plainMessage } from './kit.ts'

type Batch = {
  readonly topicMessages: ReadonlyArray<{
    readonly topic: string
    readonly messages: ReadonlyArray<{ readonly value: Buffer }>
  }>
}

it('the Kafka publisher sends no later part of a list after one without an answer, to keep the order of a key', async () => {
  const sent: string[] = []
  const producer = {
    connect: async () => {},
    disconnect: async () => {},
    sendBatch: ({ topicMessages }: Batch) => {
      for (const { messages } of topicMessages) sent.push(...messages.map(({ value }) => value.toString().slice(0, 1)))
      return new Promise<never>(() => {})
    },
  }
  const options = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
  const publisher = new KafkaPublisher({
    settings: options,
    topics,
    producer: new ProducerSlot(options, systemClock),
    clock: systemClock,
  })
  const body = (n: number): Buffer => Buffer.from(`${n}`.padEnd(1_200))
  const messages = [1, 2, 3].map((n) => plainMessage({ key: 'k', body: body(n) }))
  const outcomes = await publisher.publish(messages, { deadline: systemClock.monotonic() + 50 })
  expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['timeout', 'timeout', 'timeout'])
  expect(sent).toEqual(['1'])
  await publisher.close()
})

it('the Kafka publisher fails messages of forbidden topics at once with the permission to grant, and sends the others', async () => {
  const sent: string[][] = []
  const producer = {
    connect: async () => {},
    disconnect: async () => {},
    sendBatch: async ({ topicMessages }: Batch) => {
      sent.push(topicMessages.map(({ topic }) => topic))
      if (topicMessages.some(({ topic }) => topic === 'denied'))
        throw Object.assign(new Error('Not authorized to access topics'), { type: 'TOPIC_AUTHORIZATION_FAILED' })
      // No partition was decided: this producer asks no partitioner.
      return topicMessages.map(({ topic }) => ({ topicName: topic, partition: undefined, errorCode: 0 }))
    },
  }
  const options = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
  const publisher = new KafkaPublisher({
    settings: options,
    topics,
    producer: new ProducerSlot(options, systemClock),
    clock: systemClock,
  })
  const messages = ['denied', 'open', 'denied'].map((destination) => plainMessage({ destination, key: 'k' }))
  const outcomes = await publisher.publish(messages, { deadline: systemClock.monotonic() + 5_000 })
  expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['refused', undefined, 'refused'])
  expect(outcomes[0]?.retryable).toBe(true)
  expect(outcomes[0]?.message).toMatch(/publishing to "denied" failed: Not authorized.*Give the user the rights on it/)
  expect(sent).toEqual([['denied'], ['open'], ['denied']])
  await publisher.close()
})

it('the Kafka publisher says at once what is confirmed while a topic is not, and kafkajs has it sent once', async () => {
  const sent: string[] = []
  let disconnected = 0
  const producer = {
    connect: async () => {},
    disconnect: async () => void disconnected++,
    sendBatch: async ({ topicMessages }: Batch) => {
      for (const { topic, messages } of topicMessages) sent.push(...messages.map(() => topic))
      if (topicMessages.some(({ topic }) => topic === 'sick')) await new Promise<never>(() => {})
      return topicMessages.map(({ topic }) => ({ topicName: topic, partition: undefined, errorCode: 0 }))
    },
  }
  const options = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
  const slot = new ProducerSlot(options, systemClock)
  const publisher = new KafkaPublisher({ settings: options, topics, producer: slot, clock: systemClock })
  const messages = ['well', 'sick'].map((destination) => plainMessage({ destination, key: 'k' }))
  const told: unknown[][] = []
  const deadline = systemClock.monotonic() + 100
  const both = publisher.publish(messages, { deadline, onOutcome: (...outcome) => told.push(outcome) })
  expect(await publisher.publish([plainMessage({ destination: 'well', key: 'k' })])).toEqual([undefined])
  expect(told).toEqual([[0, undefined]])
  expect((await both).map((outcome) => outcome?.kind)).toEqual([undefined, 'timeout'])
  expect(sent).toEqual(['well', 'sick', 'well'])
  expect(disconnected).toBe(1)
  await publisher.close()
})

it.each(['INVALID_RECORD', 'POLICY_VIOLATION', 'MESSAGE_TOO_LARGE'])(
  'the Kafka publisher reports the broker’s answer for each record: %s',
  async (type) => {
    const said = `the broker's own words about ${type}`
    const producer = {
      connect: async () => {},
      disconnect: async () => {},
      sendBatch: async ({ topicMessages }: Batch) => {
        if (topicMessages.some(({ messages }) => messages.some(({ value }) => value.toString() === 'bad')))
          throw Object.assign(new Error(said), { type })
        return topicMessages.map(({ topic }) => ({ topicName: topic, partition: undefined, errorCode: 0 }))
      },
    }
    const options = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
    const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
    const publisher = new KafkaPublisher({
      settings: options,
      topics,
      producer: new ProducerSlot(options, systemClock),
      clock: systemClock,
    })
    const messages = ['good', 'bad', 'good'].map((body) => plainMessage({ key: 'k', body: Buffer.from(body) }))
    const outcomes = await publisher.publish(messages, { deadline: systemClock.monotonic() + 5_000 })
    expect(outcomes.map((outcome) => outcome?.message.includes(said))).toEqual([undefined, true, undefined])
    await publisher.close()
  },
)

it('the Kafka publisher opens new connections of kafkajs after an idle time in which a load balancer may have dropped the old ones', async () => {
  const clock = new FakeClock()
  let connected = 0
  const producer = {
    connect: async () => void connected++,
    disconnect: async () => {},
    sendBatch: async ({ topicMessages }: Batch) =>
      topicMessages.map(({ topic }) => ({ topicName: topic, partition: undefined, errorCode: 0 })),
  }
  const options = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
  const slot = new ProducerSlot(options, clock)
  const publisher = new KafkaPublisher({ settings: options, topics, producer: slot, clock })
  const send = async () => expect(await publisher.publish([plainMessage({ key: 'k' })])).toEqual([undefined])
  await send()
  clock.stall(2 * MINUTE)
  await send()
  clock.stall(2 * MINUTE)
  await send()
  expect(connected).toBe(1)
  clock.stall(3 * MINUTE)
  await send()
  expect(connected).toBe(2)
  await publisher.close()
})
