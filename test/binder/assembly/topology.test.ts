import { createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { Kafka } from 'kafkajs'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { TopologyPart } from '../../support/inside/binder.ts'

const orders = defineChannel('orders', { payload: z.object({ id: z.string() }), key: ({ id }) => id, partitions: 3 })
const bindings = [sink(orders, { group: 'stock', retry: 'delayed' }, () => {})]

describe('the plan of a binder', () => {
  it('lists destinations before anything is started, on a broker that is down', () => {
    const transport = rabbitTransport({ url: 'amqp://user:secret@127.0.0.1:1' })
    const plan = createBinder({ service: 'stock', transport, bindings }).describe()
    expect(plan.destinations.map(({ name, role, partitions }) => [name, role, partitions])).toEqual([
      ['orders', 'channel', 3],
      ['orders.stock.dlq', 'dead-letters', 1],
      ['orders.stock.retry', 'retries', 3],
    ])
    expect(Object.isFrozen(plan)).toBe(true)
    expect(JSON.stringify(plan)).not.toContain('secret')
  })

  it('has the topic in which delayed attempts wait', () => {
    const transport = kafkaTransport({ kafka: new Kafka({ brokers: ['127.0.0.1:1'] }) })
    const { destinations } = createBinder({ service: 'stock', transport, bindings }).describe()
    const retries = destinations.find(({ role }) => role === 'retries')
    expect(retries?.parts.map(({ kind, name, details }) => [kind, name, details['partitions']])).toEqual([
      ['topic', 'orders.stock.retry', 3],
      ['consumer-group', 'stock.orders.stock.retry', undefined],
      ['topic', 'orders.stock.retry.delay', 11],
      ['consumer-group', 'concordat.orders.stock.retry.delay', undefined],
    ])
  })

  it('never compacts counting messages, whatever the topic settings of channels are', () => {
    const topicConfig = { 'cleanup.policy': 'compact', 'min.insync.replicas': '2' }
    const transport = kafkaTransport({ kafka: new Kafka({ brokers: ['127.0.0.1:1'] }), topicConfig })
    const { destinations } = createBinder({ service: 'stock', transport, bindings }).describe()
    const topics = destinations.flatMap(({ parts }) => parts).filter(({ kind }) => kind === 'topic')
    const policies = topics.map(({ name, details }: TopologyPart) => [name, details['cleanup.policy']])
    expect(Object.fromEntries(policies)).toMatchObject({
      orders: 'compact',
      'orders.stock.dlq': 'delete',
      'orders.stock.retry': 'delete',
    })
    expect(topics.every(({ details }) => details['min.insync.replicas'] === '2')).toBe(true)
  })
})

it('a binder refuses a channel with the name of the topic in which messages of another one wait', () => {
  const kafka = () => kafkaTransport({ kafka: new Kafka({ brokers: ['127.0.0.1:1'] }) })
  const waiting = ['orders.delay', 'orders.stock.retry.delay'].map((name) =>
    defineChannel(name, { payload: z.string() }),
  )
  for (const channel of waiting) {
    const sends = [channel]
    expect(() => createBinder({ service: 'stock', transport: kafka(), bindings, sends })).toThrow(
      /another name, for this one holds the delayed messages of "orders/,
    )
    const rabbit = rabbitTransport({ url: 'amqp://127.0.0.1:1' })
    expect(() => createBinder({ service: 'stock', transport: rabbit, bindings, sends })).not.toThrow()
  }
})
