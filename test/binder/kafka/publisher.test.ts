import { MINUTE, systemClock } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { type Envelope, KafkaPublisher, type Producer, ProducerSlot, transportError } from './inside.ts'
import { plainMessage } from './kit.ts'

const NOT_SENT = /was not handed to the broker/

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
  const clock = new FakeClock()
  const slot = new ProducerSlot(options, clock)
  const publisher = new KafkaPublisher({ settings: options, topics, producer: slot, clock })
  const body = (n: number): Buffer => Buffer.from(`${n}`.padEnd(1_200))
  const messages = [1, 2, 3].map((n) => plainMessage({ key: 'k', body: body(n) }))
  const publishing = publisher.publish(messages, { deadline: clock.monotonic() + 5_000 })
  await clock.advance(5_000)
  const outcomes = await publishing
  expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['timeout', 'timeout', 'timeout'])
  expect(outcomes.map((outcome) => NOT_SENT.test(outcome?.message ?? ''))).toEqual([false, true, true])
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
  expect(sent).toEqual([['denied'], ['open']])
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
  const clock = new FakeClock()
  const slot = new ProducerSlot(options, clock)
  const publisher = new KafkaPublisher({ settings: options, topics, producer: slot, clock })
  const messages = ['well', 'sick'].map((destination) => plainMessage({ destination, key: 'k' }))
  const told: unknown[][] = []
  const deadline = clock.monotonic() + 5_000
  const both = publisher.publish(messages, { deadline, onOutcome: (...outcome) => told.push(outcome) })
  expect(await publisher.publish([plainMessage({ destination: 'well', key: 'k' })])).toEqual([undefined])
  expect(told).toEqual([[0, undefined]])
  await clock.advance(5_000)
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

it('the Kafka publisher opens one connection of kafkajs for sends that overlap after an idle time', async () => {
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
  const messages = ['a', 'b', 'c'].map((destination) => plainMessage({ destination, key: 'k' }))
  for (const expected of [1, 2]) {
    clock.stall(3 * MINUTE)
    expect(await publisher.publish(messages)).toEqual([undefined, undefined, undefined])
    expect(connected).toBe(expected)
  }
  await publisher.close()
})

describe('a request that is refused in part', () => {
  /** @param send what the producer does, call by call */
  function setup(...send: ReadonlyArray<Producer['send']>) {
    const clock = new FakeClock()
    const sent: string[][] = []
    let calls = 0
    const producer: Producer = {
      joinsTopics: false,
      close: async () => {},
      send: (envelopes, ...rest) => {
        sent.push(envelopes.map(({ value }) => String(value)))
        return (send[calls++] ?? (async () => []))(envelopes, ...rest)
      },
    }
    const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
    const settings = { maxMessageBytes: 2_000 } as never
    const publisher = new KafkaPublisher({ settings, topics, producer, clock })
    const messages = ['1', '2', '3'].map((text) => plainMessage({ key: 'k', body: Buffer.from(text) }))
    return { clock, sent, publish: () => publisher.publish(messages, { deadline: clock.monotonic() + 5_000 }) }
  }
  const refuse = (): never => {
    throw transportError('too_large', 'refused')
  }

  it('is sent again without what was confirmed', async () => {
    const first: Producer['send'] = async (envelopes, _, onConfirmed) => {
      onConfirmed?.(envelopes[0] as Envelope)
      return envelopes.slice(1)
    }
    const { clock, sent, publish } = setup(first, async () => refuse())
    const publishing = publish()
    await clock.advance(1_000)
    expect(await publishing).toEqual([undefined, undefined, undefined])
    expect(sent).toEqual([['1', '2', '3'], ['2', '3'], ['2'], ['3']])
  })

  it('does not count as never sent when its time is up', async () => {
    const { clock, publish } = setup(async () => {
      clock.stall(5_000)
      return refuse()
    })
    const outcomes = await publish()
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['timeout', 'timeout', 'timeout'])
    expect(outcomes.filter((outcome) => NOT_SENT.test(outcome?.message ?? ''))).toEqual([])
  })
})

interface Script {
  /** Looks up topics other than `well`. @default all are known */
  readonly verify?: (topic: string) => Promise<number>
  /** Refuses requests with several topics. */
  readonly refusesTogether?: boolean
}

describe.each([
  ['one topic a request', false],
  ['many topics a request', true],
])('a topic that does not answer, on a producer that sends %s', (_, joinsTopics) => {
  /** Confirms everything except records for `dead`, for which it waits until time is up. */
  function setup({ verify, refusesTogether }: Script = {}) {
    const clock = new FakeClock()
    const sent: string[][] = []
    const forgotten: string[] = []
    const producer: Producer = {
      joinsTopics,
      close: async () => {},
      send: async (envelopes, durationMs, onConfirmed) => {
        sent.push(envelopes.map(({ topic, value }) => `${topic} ${String(value).trim()}`))
        const names = new Set(envelopes.map(({ topic }) => topic))
        if (refusesTogether === true && names.size > 1) throw transportError('mismatch', 'refused')
        for (const envelope of envelopes) if (envelope.topic !== 'dead') onConfirmed?.(envelope)
        if (names.has('dead')) await clock.sleep(durationMs)
        return envelopes.filter(({ topic }) => topic === 'dead')
      },
    }
    const topics = {
      partitions: (topic: string) => (verify === undefined || topic === 'well' ? 1 : undefined),
      takesAnySize: () => false,
      forget: (topic: string) => void forgotten.push(topic),
      verify,
    } as never
    const settings = { maxMessageBytes: 2_000, springHeaderTypes: false }
    const publisher = new KafkaPublisher({ settings, topics, producer, clock })
    const told: string[] = []
    const publish = (...names: string[]) =>
      publisher.publish(
        names.map((name, n) => plainMessage({ destination: name, key: 'k', body: Buffer.from(`${n}`.padEnd(1_200)) })),
        {
          deadline: clock.monotonic() + 5_000,
          onOutcome: (index, outcome) => told.push(`${index} ${outcome?.kind ?? 'confirmed'}`),
        },
      )
    return { clock, sent, forgotten, told, publish }
  }

  it('delays no other topic while it is looked up, and its messages are not sent when their time is up', async () => {
    const { clock, sent, forgotten, told, publish } = setup({
      verify: (topic) =>
        topic === 'gone' ? Promise.reject(transportError('unroutable', 'no such topic')) : new Promise(() => {}),
    })
    const outcomes = publish('dead', 'well', 'gone')
    await clock.advance(1)
    expect(told.toSorted()).toEqual(['1 confirmed', '2 unroutable'])
    await clock.advance(5_000)
    const [dead, ...others] = await outcomes
    expect(dead).toMatchObject({ kind: 'timeout', retryable: true, destination: 'dead' })
    expect(dead?.message).toMatch(NOT_SENT)
    expect(others.map((outcome) => outcome?.kind)).toEqual([undefined, 'unroutable'])
    expect(sent).toEqual([['well 1']])
    expect(forgotten).toEqual([])
  })

  it('takes no time of the others when a list has more bytes than one request, and each topic keeps its order', async () => {
    const { clock, sent, forgotten, told, publish } = setup()
    const outcomes = publish('dead', 'well', 'well', 'fine', 'well', 'dead')
    await clock.advance(1)
    expect(told.toSorted()).toEqual(['1 confirmed', '2 confirmed', '3 confirmed', '4 confirmed'])
    expect(sent.filter(([first]) => first?.startsWith('well'))).toEqual([['well 1'], ['well 2'], ['well 4']])
    await clock.advance(5_000)
    const all = await outcomes
    expect(all.map((outcome) => outcome?.kind)).toEqual(['timeout', ...[1, 2, 3, 4].map(() => undefined), 'timeout'])
    expect(all[0]?.message).toMatch(/no confirm in time/)
    expect(all[5]?.message).toMatch(NOT_SENT)
    expect(sent.flat()).not.toContain('dead 5')
    expect(forgotten).toEqual(['dead'])
  })

  it('takes no time of the others after all were refused together', async () => {
    const { clock, told, publish } = setup({ refusesTogether: true })
    const outcomes = publish('dead', 'well')
    await clock.advance(1)
    expect(told).toEqual(['1 confirmed'])
    await clock.advance(5_000)
    expect((await outcomes)[0]?.message).toMatch(/no confirm in time/)
  })

  it('costs no further request while all topics answer', async () => {
    const { clock, sent, publish } = setup()
    const outcomes = publish('well', 'fine', 'other')
    await clock.advance(1)
    expect(await outcomes).toEqual([undefined, undefined, undefined])
    expect(sent).toEqual(joinsTopics ? [['well 0', 'fine 1', 'other 2']] : [['well 0'], ['fine 1'], ['other 2']])
  })
})

it('kafkajs sends what a moved partition left unconfirmed again while another topic does not answer', async () => {
  const sent: string[] = []
  const producer = {
    connect: async () => {},
    disconnect: async () => {},
    sendBatch: async ({ topicMessages }: Batch) => {
      const [topic] = topicMessages.map((each) => each.topic)
      sent.push(topic as string)
      if (topic === 'dead') await new Promise<never>(() => {})
      const isMoved = sent.filter((each) => each === 'well').length === 1
      return isMoved ? [] : [{ topicName: topic, partition: undefined, errorCode: 0 }]
    },
  }
  const options = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  const topics = { partitions: () => 1, takesAnySize: () => false, forget: () => {} } as never
  const clock = new FakeClock()
  const slot = new ProducerSlot(options, clock)
  const publisher = new KafkaPublisher({ settings: options, topics, producer: slot, clock })
  const messages = ['dead', 'well'].map((destination) => plainMessage({ destination, key: 'k' }))
  const outcomes = publisher.publish(messages, { deadline: clock.monotonic() + 5_000 })
  await clock.advance(200)
  expect(sent).toEqual(['dead', 'well', 'well'])
  await clock.advance(5_000)
  expect((await outcomes).map((outcome) => outcome?.kind)).toEqual(['timeout', undefined])
  await publisher.close()
})
