/**
 * Brokers' answers to a message, and the reaction of each part that publishes: both drivers of Kafka, RabbitMQ, and the
 * relay of an outbox over them. In the table, the fault is `writeFault`'s result, and the error has the words of the
 * broker.
 */
// oxlint-disable no-restricted-imports -- the classifier and the insides of the adapters are no part of the interface
import { type EncodedMessage, TransportError } from 'concordat/binder'
import { silentLogger, systemClock } from 'concordat/core'
import type { PublishOutcome } from 'concordat/extension'
import { createRelay } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { type WriteFault, writeFault } from '../../core/write-fault.ts'
import { type Cluster, IdempotentProducer, KafkaPublisher, KafkaRefusal, ProducerSlot } from '../binder/kafka/inside.ts'
import { plainMessage } from '../binder/kafka/kit.ts'
import { FakeBroker } from '../binder/rabbitmq/fake-broker.ts'
import { attached } from '../binder/rabbitmq/kit.ts'
import { message } from '../outbox/support/messages.ts'
import { embedded, setupOutbox, useEmbedded } from '../outbox/support/pglite.ts'
import { drain } from '../support/locks/fake-clock.ts'
import { until } from '../support/until.ts'

useEmbedded()

/** Errors by their names in the protocol. */
const KAFKA = [
  ['TOPIC_AUTHORIZATION_FAILED', 'operator'],
  ['CLUSTER_AUTHORIZATION_FAILED', 'operator'],
  ['SASL_AUTHENTICATION_FAILED', 'operator'],
  ['INVALID_TIMESTAMP', 'operator'],
  ['NOT_ENOUGH_REPLICAS', 'unavailable'],
  ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'unavailable'],
  ['REQUEST_TIMED_OUT', 'unavailable'],
  ['KAFKA_STORAGE_ERROR', 'unavailable'],
  ['LEADER_NOT_AVAILABLE', 'unavailable'],
  ['MESSAGE_TOO_LARGE', 'permanent'],
  ['RECORD_LIST_TOO_LARGE', 'permanent'],
  ['INVALID_RECORD', 'permanent'],
  ['UNKNOWN_TOPIC_OR_PARTITION', 'permanent'],
] as const

/** Reply codes, and the scope that the broker closes with them. */
const AMQP = [
  [403, 'ACCESS_REFUSED', 'channel', 'operator'],
  [404, 'NOT_FOUND', 'channel', 'permanent'],
  [406, 'PRECONDITION_FAILED', 'channel', 'permanent'],
  [311, 'CONTENT_TOO_LARGE', 'channel', 'permanent'],
  [541, 'INTERNAL_ERROR', 'channel', 'unavailable'],
  [320, 'CONNECTION_FORCED', 'connection', 'unavailable'],
  [505, 'UNEXPECTED_FRAME', 'connection', 'unavailable'],
  [541, 'INTERNAL_ERROR', 'connection', 'unavailable'],
] as const

const WORDS = 'the own words of the broker'
const topics = {
  partitions: () => 1,
  takesAnySize: () => false,
  hasGroups: () => false,
  forget: () => {},
  passingAbsence: () => undefined,
  verify: async () => {},
} as never

async function byKafkajs(type: string): Promise<PublishOutcome> {
  const producer = {
    connect: async () => {},
    disconnect: async () => {},
    sendBatch: async () => {
      throw Object.assign(new Error(WORDS), { type })
    },
  }
  const settings = { kafka: { producer: () => producer }, maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  return publishedBy(
    new KafkaPublisher({ settings, topics, producer: new ProducerSlot(settings, systemClock), clock: systemClock }),
  )
}

async function byPlatformatic(type: string): Promise<PublishOutcome> {
  const cluster = {
    any: async () => ({ id: 1, epoch: 0 }),
    topic: async () => ({ name: 't', errorCode: 0, isInternal: false, partitions: [{ partition: 0, leader: 1 }] }),
    forgetTopic: () => {},
    call: async () => {
      throw new KafkaRefusal(type, WORDS)
    },
    close: () => {},
  } as unknown as Cluster
  const fields = { cluster, clock: systemClock, compression: 'none', requestTimeoutMs: 1_000 } as const
  const settings = { maxMessageBytes: 2_000, connectTimeoutMs: 1_000 } as never
  return publishedBy(
    new KafkaPublisher({ settings, topics, producer: new IdempotentProducer(fields), clock: systemClock }),
  )
}

async function publishedBy(publisher: KafkaPublisher): Promise<PublishOutcome> {
  const one = plainMessage({ destination: 't', key: 'k' })
  const [outcome] = await publisher.publish([one], { deadline: systemClock.monotonic() + 100 })
  await publisher.close()
  return outcome
}

async function byRabbit(code: number, text: string, closes: 'channel' | 'connection'): Promise<PublishOutcome> {
  const broker = new FakeBroker()
  const transport = attached({ connect: broker.connect }, 8_000)
  await transport.provision([{ name: 'orders', partitions: 1, groups: ['g'] }])
  let isOver = false
  const outcomes = transport.publish([plainMessage({ destination: 'orders', key: 'k' })]).finally(() => {
    isOver = true
  })
  const said = `${text} - ${WORDS}`
  // Each time that the message is sent again.
  while (!isOver) {
    await drain()
    const channel = broker.latest('publish')?.channels.find(({ published }) => published.length > 0)
    if (channel === undefined) continue
    if (closes === 'channel') channel.fail(code, said)
    else broker.latest('publish').break(Object.assign(new Error(`Connection closed: ${code} (${said})`), { code }))
  }
  return (await outcomes)[0]
}

function expectFault(outcome: PublishOutcome, fault: WriteFault): TransportError {
  expect(outcome).toBeInstanceOf(TransportError)
  const { message: text, retryable } = outcome as TransportError
  expect({ fault: writeFault(outcome), retryable }).toEqual({ fault, retryable: fault !== 'permanent' })
  expect(text).toContain(WORDS)
  return outcome as TransportError
}

/** A relay gets this outcome for its one row until it is released. */
async function relayMeets(outcome: TransportError, fault: WriteFault): Promise<void> {
  const setup = await setupOutbox({ partitions: 1 })
  await using _ = setup
  const { outbox } = setup
  let isReleased = false
  let tries = 0
  const publish = async (messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> => {
    tries++
    return messages.map(() => (isReleased ? undefined : outcome))
  }
  const relay = createRelay({
    outbox,
    publisher: { publish },
    idlePollMs: 20,
    maxAttempts: 3,
    backoff: { initialMs: 1, maxMs: 5 },
    logger: silentLogger,
  })
  await embedded().transaction((tx) => outbox.addEncoded(tx, [message('m')]))
  await relay.start()
  if (fault === 'permanent') {
    await until('the message is parked', async () => (await outbox.parked()).length === 1)
    expect((await outbox.parked())[0]?.lastError).toContain(WORDS)
  } else {
    await until('health tells it', () => relay.health().status === 'down')
    await until('more tries than may be made of a message that is refused', () => tries > 3)
    expect(relay.health().detail).toContain(WORDS)
    expect(await outbox.parked()).toEqual([])
    isReleased = true
    await until('it left, and health is up', async () => {
      const { pending } = await outbox.stats()
      return pending === 0 && relay.health().status === 'up'
    })
  }
  await relay.close()
}

describe.each([
  ['kafkajs', byKafkajs],
  ['the driver on @platformatic/kafka', byPlatformatic],
] as const)('a message through %s', (_, meets) => {
  test.each(KAFKA)('an error that Kafka answers with %s is %s, in the words of the broker', async (type, fault) => {
    expectFault(await meets(type), fault)
  })
})

describe('a message through RabbitMQ', () => {
  test.each(AMQP)(
    'that is answered with %d %s of the %s is %s, with the broker’s message',
    async (code, text, closes, fault) => {
      expectFault(await byRabbit(code, text, closes), fault)
    },
  )
})

describe('a relay', () => {
  test.each(KAFKA)('whose message Kafka answers with %s: %s', async (type, fault) => {
    await relayMeets(expectFault(await byKafkajs(type), fault), fault)
  })

  test.each(AMQP)('whose message RabbitMQ answers with %d %s of the %s: %s', async (code, text, closes, fault) => {
    await relayMeets(expectFault(await byRabbit(code, text, closes), fault), fault)
  })
})
