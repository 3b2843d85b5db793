/** Checks once, before anything starts, that the servers of a distributed run answer. */
import amqplib from 'amqplib'
import { Redis } from 'ioredis'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import pg from 'pg'
import { type DistributedOptions, UsageError } from '../options.ts'
import { serviceNames } from '../service-names.ts'

const ANSWER_MS = 5_000

/** Checks all servers. @throws UsageError: one line that names the server, its error and the remedy */
export async function requireServers(options: DistributedOptions): Promise<void> {
  const { transport, broker, postgres, redis } = options
  const checks = [
    ...(transport === 'kafka' ? [check('kafka', broker, () => askKafka(broker))] : []),
    ...(transport === 'rabbitmq' ? [check('rabbitmq', hostOf(broker), () => askRabbit(broker))] : []),
    check('postgres', hostOf(postgres), () => askPostgres(postgres, options.processes)),
    ...(redis === undefined ? [] : [check('redis', hostOf(redis), () => askRedis(redis))]),
  ]
  for (const outcome of await Promise.allSettled(checks)) if (outcome.status === 'rejected') throw outcome.reason
}

async function check(flag: string, where: string, ask: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS / 1_000} s`)), ANSWER_MS)
  })
  try {
    await Promise.race([ask(), late])
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(
      `${flag} at ${where} cannot be used (${reasonOf(error)}): start it with "npm run servers -- ${flag}", or pass the right --${flag}`,
    )
  } finally {
    clearTimeout(timer)
  }
}

async function askKafka(brokers: string): Promise<void> {
  await withKafkaAdmin(brokers, async (admin) => {
    await admin.describeCluster()
  })
}

export async function withKafkaAdmin(brokers: string, work: (admin: Admin) => Promise<void>): Promise<void> {
  const kafka = new Kafka({
    clientId: 'order-payment-check',
    brokers: brokers.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 3_000,
    retry: { retries: 1 },
  })
  const admin = kafka.admin()
  await admin.connect()
  try {
    await work(admin)
  } finally {
    await admin.disconnect()
  }
}

async function askRabbit(url: string): Promise<void> {
  const connection = await amqplib.connect(url, { timeout: ANSWER_MS })
  await connection.close()
}

/** Pool size per process: all processes share 40 of the 100 connections that PostgreSQL allows by default. */
export function poolSize(processes: number): number {
  return Math.max(3, Math.floor(40 / (serviceNames.length * processes)))
}

/** Connections of a run: a pool and a listener per service process, and 3 for the intake. */
function connectionsOf(processes: number): number {
  return serviceNames.length * processes * (poolSize(processes) + 1) + 3
}

async function askPostgres(url: string, processes: number): Promise<void> {
  await withPostgres(url, async (client) => {
    const found = await client.query<{ free: number }>(
      `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS free`,
    )
    const free = found.rows[0]?.free ?? 0
    const needed = connectionsOf(processes)
    if (free >= needed) return
    throw new UsageError(
      `postgres at ${hostOf(url)} has ${free} connections free, the run needs up to ${needed}: pass fewer --processes, or raise max_connections`,
    )
  })
}

export async function withPostgres(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

async function askRedis(url: string): Promise<void> {
  const client = redisClient(url)
  try {
    await client.connect()
    await client.ping()
  } finally {
    client.disconnect()
  }
}

/** Creates a client that does not reconnect, for a check or a cleanup. */
export function redisClient(url: string): Redis {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: ANSWER_MS })
  client.on('error', () => {})
  return client
}

/** Returns host and port, without the password. */
function hostOf(url: string): string {
  return new URL(url).host
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  const message =
    error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code) : String(error)
  return message.replaceAll(/\s+/g, ' ').slice(0, 120)
}
