import { Connection } from '@platformatic/kafka'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { DAY, HOUR, MINUTE, SECOND, silentLogger, systemClock } from 'concordat/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import {
  type Admin,
  type AdminLink,
  KafkaPublisher,
  type Producer,
  resolvePlatformaticOptions,
  Topics,
  transportError,
} from './inside.ts'
import { plainMessage } from './kit.ts'

/** The settings of each topic that a group with delayed retries needs. */
function configOf(retentionMs: number | undefined): ReadonlyMap<string, Readonly<Record<string, unknown>>> {
  const channel = defineChannel('bills', { payload: TestPayload, retentionMs })
  const binding = sink(channel, { group: 'g', retry: 'delayed' }, () => {})
  const transport = platformaticTransport({
    kafka: { Connection, bootstrapBrokers: ['localhost:1'] },
    topicConfig: { 'retention.ms': '3600000', 'retention.bytes': '1000' },
  })
  const binder = createBinder({ service: 'shop', transport, bindings: [binding] })
  onTestFinished(() => binder.close())
  const parts = binder.describe().destinations.flatMap((destination) => destination.parts)
  return new Map(parts.filter(({ kind }) => kind === 'topic').map(({ name, details }) => [name, details]))
}

describe('how long topics keep messages', () => {
  it('dead letters are kept without a limit of time or bytes, with any retention of the channel and the transport', () => {
    const unlimited = { 'retention.ms': '-1', 'retention.bytes': '-1' }
    expect(configOf(90 * DAY).get('bills.g.dlq')).toMatchObject(unlimited)
    expect(configOf(undefined).get('bills.g.dlq')).toMatchObject(unlimited)
  })

  it('retries and delayed messages are kept as long as the messages of their channel', () => {
    const topics = configOf(90 * DAY)
    for (const name of ['bills', 'bills.g.retry', 'bills.g.retry.delay'])
      expect(topics.get(name)).toMatchObject({ 'retention.ms': String(90 * DAY) })
  })

  it('delayed messages are kept without a limit of bytes, with any of the transport', () => {
    const topics = configOf(undefined)
    expect(topics.get('bills.g.retry.delay')).toMatchObject({ 'retention.bytes': '-1' })
    expect(topics.get('bills')).toMatchObject({ 'retention.bytes': '1000' })
  })

  it('retries of a channel without a retention are kept for the transport’s retention', () => {
    expect(configOf(undefined).get('bills.g.retry')).toMatchObject({ 'retention.ms': '3600000' })
  })
})

/** @param led whether each partition of a topic has a leader, of the topics that exist */
function setup(led: ReadonlyMap<string, boolean>, provision: 'create' | 'check' = 'create') {
  const topics = new Map(led)
  const made: string[] = []
  const admin: Partial<Admin> = {
    listTopics: async () => [...topics.keys()],
    createTopics: async (wanted) => {
      for (const { name } of wanted) {
        made.push(name)
        topics.set(name, false)
      }
    },
    partitionsOf: async (names) =>
      new Map(
        names.flatMap((name) => (topics.has(name) ? [[name, { count: 3, isLed: topics.get(name) === true }]] : [])),
      ),
    configs: async () => new Map(),
  }
  const link = { use: (_, work) => work(admin as Admin), close: async () => {} } as AdminLink
  let now = 0
  const sleep = async (durationMs: number): Promise<void> => void (now += durationMs)
  const clock = { ...systemClock, monotonic: () => now, sleep }
  const settings = resolvePlatformaticOptions({
    kafka: { Connection, bootstrapBrokers: ['localhost:1'] },
    requestTimeoutMs: 10 * SECOND,
    provision,
  })
  return {
    admin,
    topics: new Topics(settings, link, { clock, logger: silentLogger }),
    existing: topics,
    made,
    clock,
    settings,
    elapse: sleep,
  }
}

const protocolError = (type: string): Error => Object.assign(new Error('refused'), { type })

const orders = { name: 'orders', partitions: 3, groups: ['g'] }
const letters = { name: 'orders.g.dlq', partitions: 3, groups: [], deadLetters: true }

it('reports once that it has created a topic, and never for one that existed', async () => {
  const { topics } = setup(new Map([['orders', true]]))
  await expect(topics.provision([orders, letters])).rejects.toThrow('have no leader')
  expect([
    topics.takeCreated('orders'),
    topics.takeCreated('orders.g.dlq'),
    topics.takeCreated('orders.g.dlq'),
  ]).toEqual([false, true, false])
})

describe('provisioning while a partition has no leader', () => {
  it('does not wait for leaders of topics that exist', async () => {
    const { topics, made } = setup(
      new Map([
        ['orders', false],
        ['orders.g.dlq', false],
      ]),
    )
    await topics.provision([orders, letters])
    expect([made, topics.partitions('orders'), await topics.verify('orders')]).toEqual([[], 3, 3])
  })

  it('waits for the leaders of topics that it has created', async () => {
    const { topics, made } = setup(new Map([['orders', false]]))
    await expect(topics.provision([orders, letters])).rejects.toThrow('topics orders.g.dlq have no leader')
    expect(made).toEqual(['orders.g.dlq'])
  })
})

describe('a topic that was deleted', () => {
  it('is no permanent failure of creating it: kafkajs asks for each topic that its connection has used', async () => {
    const { topics, existing, admin } = setup(new Map([['orders', true]]))
    await topics.provision([orders])
    existing.delete('orders')
    const answering = { ...admin }
    admin.createTopics = () => Promise.reject(protocolError('UNKNOWN_TOPIC_OR_PARTITION'))
    await expect(topics.provision([orders])).rejects.toMatchObject({ kind: 'unavailable', retryable: true })
    Object.assign(admin, answering)
    existing.set('orders', true)
    await topics.provision([orders])
  })
})

describe('a topic that the broker does not list', () => {
  it('is unavailable for a minute once this process has seen it, then unroutable', async () => {
    const { topics, existing, elapse } = setup(new Map([['orders', true]]))
    const kind = async (): Promise<unknown> => {
      topics.forget('orders')
      return topics.verify('orders').catch(({ kind: is, retryable }) => [is, retryable])
    }
    await topics.provision([orders])
    existing.delete('orders')
    expect(await kind()).toEqual(['unavailable', true])
    await elapse(5 * SECOND)
    existing.set('orders', true)
    expect(await kind()).toBe(3)

    await elapse(5 * MINUTE)
    existing.delete('orders')
    expect(await kind()).toEqual(['unavailable', true])
    await elapse(MINUTE - 1)
    expect(await kind()).toEqual(['unavailable', true])
    await elapse(1)
    expect(await kind()).toEqual(['unroutable', false])
    await elapse(HOUR)
    expect(await kind()).toEqual(['unroutable', false])
  })

  it('is unavailable again when it is missing a second time, hours after the first', async () => {
    const { topics, existing, elapse } = setup(new Map([['orders', true]]))
    await topics.provision([orders])
    topics.forget('orders')
    existing.delete('orders')
    await expect(topics.verify('orders')).rejects.toMatchObject({ kind: 'unavailable' })
    await elapse(2 * HOUR)
    await expect(topics.verify('orders')).rejects.toMatchObject({ kind: 'unavailable' })
    await elapse(MINUTE)
    await expect(topics.verify('orders')).rejects.toMatchObject({ kind: 'unroutable' })
  })

  it('is unroutable at once when this process has never seen it', async () => {
    const { topics } = setup(new Map())
    await expect(topics.verify('orders')).rejects.toMatchObject({ kind: 'unroutable', retryable: false })
  })

  it('is no mismatch for a minute once a check has found it', async () => {
    const { topics, existing, elapse } = setup(new Map([['orders', true]]), 'check')
    await topics.provision([orders])
    existing.delete('orders')
    await expect(topics.provision([orders])).rejects.toMatchObject({ kind: 'unavailable', retryable: true })
    await elapse(MINUTE)
    await expect(topics.provision([orders])).rejects.toMatchObject({ kind: 'mismatch', retryable: false })
  })

  it('gives its messages the outcome `unavailable` when a producer refuses them meanwhile', async () => {
    const { topics, existing, clock, settings } = setup(new Map([['orders', true]]))
    await topics.provision([orders])
    existing.delete('orders')
    let sends = 0
    const producer: Producer = {
      joinsTopics: true,
      close: async () => {},
      send: async () => {
        sends++
        throw transportError('unroutable', 'publishing failed')
      },
    }
    const publisher = new KafkaPublisher({ settings, topics, producer, clock })
    const publish = () => publisher.publish(['a', 'b'].map((key) => plainMessage({ destination: 'orders', key })))
    for (const _ of [1, 2])
      expect((await publish()).map((outcome) => outcome?.kind)).toEqual(['unavailable', 'unavailable'])
    expect(sends).toBe(1)
  })
})
