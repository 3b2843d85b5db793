/** How the tests of this folder write a value to a server of each kind and read it back, through its own driver. */
import { connect } from 'amqplib'
import { Redis } from 'ioredis'
import { Kafka, logLevel } from 'kafkajs'
import mysql from 'mysql2/promise'
import pg from 'pg'
import type { ServerKind } from './kinds.ts'

export interface Check {
  readonly kind: ServerKind
  /** Settings with which the server keeps its data across a kill. */
  readonly settings: Readonly<Record<string, string>>
  /** Resolves when the server has confirmed it. */
  readonly write: (url: string, value: string) => Promise<void>
  /** The last value written. Rejects soon when nothing listens at the address. */
  readonly read: (url: string) => Promise<string | undefined>
}

const postgres: Check = {
  kind: 'postgres',
  settings: {},
  write: (url, value) =>
    withPostgres(url, async (client) => {
      await client.query('CREATE TABLE IF NOT EXISTS notes (id bigserial, value text)')
      await client.query('INSERT INTO notes (value) VALUES ($1)', [value])
    }),
  read: (url) =>
    withPostgres(url, async (client) => {
      const result = await client.query<{ value: string }>('SELECT value FROM notes ORDER BY id DESC LIMIT 1')
      return result.rows[0]?.value
    }),
}

async function withPostgres<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.end()
  }
}

const redis: Check = {
  kind: 'redis',
  settings: { appendonly: 'yes', appendfsync: 'always' },
  write: (url, value) => withRedis(url, async (client) => void (await client.set('note', value))),
  read: (url) => withRedis(url, async (client) => (await client.get('note')) ?? undefined),
}

async function withRedis<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  client.on('error', () => {})
  try {
    await client.connect()
    return await work(client)
  } finally {
    client.disconnect()
  }
}

const rabbitmq: Check = {
  kind: 'rabbitmq',
  settings: {},
  write: async (url, value) => {
    const connection = await connect(url)
    const channel = await connection.createConfirmChannel()
    await channel.assertQueue('notes', { durable: true })
    await channel.purgeQueue('notes')
    // A queue that was just declared may be forgotten until something else is: docs/decisions/0007-delayed-delivery.md.
    await channel.assertExchange('notes-written', 'fanout')
    await channel.deleteExchange('notes-written')
    channel.sendToQueue('notes', Buffer.from(value), { persistent: true })
    await channel.waitForConfirms()
    await connection.close()
  },
  read: async (url) => {
    const connection = await connect(url)
    connection.on('error', () => {})
    const channel = await connection.createChannel()
    const message = await channel.get('notes', { noAck: false })
    await connection.close()
    return message === false ? undefined : message.content.toString()
  },
}

const kafka: Check = {
  kind: 'kafka',
  settings: {},
  write: async (url, value) => {
    const client = kafkaClient(url)
    const [admin, producer] = [client.admin(), client.producer()]
    await Promise.all([admin.connect(), producer.connect()])
    await admin.createTopics({ topics: [{ topic: 'notes', numPartitions: 1 }], waitForLeaders: true })
    await producer.send({ topic: 'notes', acks: -1, messages: [{ value }] })
    await Promise.all([admin.disconnect(), producer.disconnect()])
  },
  read: async (url) => {
    const consumer = kafkaClient(url).consumer({ groupId: `reader-${Date.now()}`, maxWaitTimeInMs: 100 })
    await consumer.connect()
    try {
      await consumer.subscribe({ topic: 'notes', fromBeginning: true })
      return await new Promise<string | undefined>((resolve, reject) => {
        consumer
          .run({
            eachBatch: async ({ batch }) => {
              if (batch.isEmpty()) return
              resolve(batch.messages.at(-1)?.value?.toString())
            },
          })
          .catch(reject)
      })
    } finally {
      await consumer.disconnect()
    }
  },
}

function kafkaClient(url: string): Kafka {
  return new Kafka({ brokers: [url], logLevel: logLevel.NOTHING, retry: { retries: 5, initialRetryTime: 100 } })
}

const mariadb: Check = {
  kind: 'mariadb',
  settings: {},
  write: (url, value) =>
    withMariaDb(url, async (connection) => {
      await connection.query('CREATE TABLE IF NOT EXISTS notes (id bigint AUTO_INCREMENT PRIMARY KEY, value text)')
      await connection.query('INSERT INTO notes (value) VALUES (?)', [value])
    }),
  read: (url) =>
    withMariaDb(url, async (connection) => {
      const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT value FROM notes ORDER BY id DESC LIMIT 1')
      return rows[0]?.['value'] as string | undefined
    }),
}

async function withMariaDb<T>(url: string, work: (connection: mysql.Connection) => Promise<T>): Promise<T> {
  const connection = await mysql.createConnection({ uri: url })
  try {
    return await work(connection)
  } finally {
    await connection.end()
  }
}

export const checks = { postgres, redis, rabbitmq, kafka, mariadb } as const
