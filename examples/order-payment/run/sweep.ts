/** Removes what a distributed run created: schemas, topics or queues, lock keys. */
import amqplib from 'amqplib'
import { deadLetterName } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { quoteIdentifier } from 'concordat/core'
import { sagaReplies } from 'concordat/saga'
import { CHANNELS } from '../contracts.ts'
import type { DistributedOptions } from '../options.ts'
import type { Schemas } from './audit.ts'
import { redisClient, withKafkaAdmin, withPostgres } from './servers.ts'

export interface RunNames {
  readonly schemas: Schemas
  /** Prefix of every topic, exchange and queue. */
  readonly prefix: string
  /** Prefix of every lock key. */
  readonly lockPrefix: string
  /** Schema that the services share with `--transport postgres`. */
  readonly shared: string
}

export function namesOf(runId: string): RunNames {
  const schema = (service: string): string => `order_payment_${runId}_${service}`
  const schemas: Schemas = {
    orders: schema('orders'),
    payments: schema('payments'),
    stock: schema('stock'),
    receipts: schema('receipts'),
  }
  return {
    schemas,
    prefix: `order-payment-${runId}.`,
    lockPrefix: `order-payment-${runId}:`,
    shared: schema('shared'),
  }
}

type Servers = Pick<DistributedOptions, 'transport' | 'broker' | 'postgres' | 'redis'>

export async function sweep(options: Servers, names: RunNames): Promise<void> {
  const { transport, broker, postgres, redis } = options
  await Promise.all([
    sweepPostgres(postgres, [...Object.values(names.schemas), names.shared]),
    transport === 'kafka' && sweepKafka(broker, names.prefix),
    transport === 'rabbitmq' && sweepRabbit(broker, names.prefix),
    redis !== undefined && sweepRedis(redis, names.lockPrefix),
  ])
}

async function sweepPostgres(url: string, schemas: readonly string[]): Promise<void> {
  await withPostgres(url, async (client) => {
    for (const schema of schemas) {
      await client.query(`DROP SCHEMA IF EXISTS ${quoteIdentifier(schema)} CASCADE`)
    }
  })
}

async function sweepKafka(brokers: string, prefix: string): Promise<void> {
  await withKafkaAdmin(brokers, async (admin) => {
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix))
    if (topics.length > 0) await admin.deleteTopics({ topics })
    const { groups } = await admin.listGroups()
    const ours = groups.map(({ groupId }) => groupId).filter((groupId) => groupId.includes(prefix))
    if (ours.length > 0) await admin.deleteGroups(ours)
  })
}

/** Derives the names from the declarations, as `binder/rabbitmq/topology/topology-names.ts` does: AMQP cannot list queues. */
async function sweepRabbit(url: string, prefix: string): Promise<void> {
  const connection = await amqplib.connect(url)
  try {
    const channel = await connection.createChannel()
    for (const { name, partitions, groups } of destinations()) {
      const exchange = prefix + name
      for (const group of groups) {
        const queue = `${exchange}:${group}`
        const numbered = Array.from({ length: partitions }, (_, partition) => `${queue}:${partition}`)
        for (const each of [queue, ...numbered, `${queue}:members`, `${queue}:idle`]) await channel.deleteQueue(each)
      }
      await channel.deleteExchange(exchange)
      await channel.deleteExchange(`${exchange}:partitions`)
    }
  } finally {
    await connection.close()
  }
}

function destinations() {
  const channels = [...CHANNELS, sagaReplies('orders')]
  const dead = channels.flatMap(({ name, groups }) =>
    groups.map((group) => ({ name: deadLetterName(name, group), partitions: 1, groups: ['redrive'] })),
  )
  return [...channels, ...dead, ...createBus({ service: 'sweep' }).channels]
}

async function sweepRedis(url: string, prefix: string): Promise<void> {
  const client = redisClient(url)
  try {
    await client.connect()
    for await (const keys of client.scanStream({ match: `*${prefix}*`, count: 1_000 })) {
      if ((keys as string[]).length > 0) await client.del(...(keys as string[]))
    }
  } finally {
    client.disconnect()
  }
}
