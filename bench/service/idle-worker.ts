/**
 * Process that becomes ready and then is idle. It runs the built package, so it imports by package names alone, and
 * only what its side needs.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { ServiceOptions } from 'concordat/service'
import type { IdleReport, Order } from './idle-reports.ts'

/** A start that is prepared: everything is imported. */
type Prepared = () => Promise<Running>

interface Running {
  close(): Promise<unknown>
}

type Closing = Array<() => Promise<unknown>>

const { side, world, addresses, idleMs } = JSON.parse(process.argv[2] ?? '{}') as Order
const report = (what: IdleReport): void => void process.send?.(what)
process.on('disconnect', () => process.exit(0))

const start = await { service, drivers, nothing }[side]()
const importsMs = performance.now()
const running = await start()
report({ did: 'ready', importsMs, startMs: performance.now() - importsMs })
const cpu = process.cpuUsage()
await pause(idleMs)
const { user, system } = process.cpuUsage(cpu)
const { rss, heapUsed } = process.memoryUsage()
report({ did: 'idle', rssMb: rss / 1e6, heapMb: heapUsed / 1e6, cpu: (user + system) / 1e3 / idleMs })
const closing = performance.now()
await running.close()
report({ did: 'closed', closeMs: performance.now() - closing })
process.disconnect()

async function nothing(): Promise<Prepared> {
  return async () => ({ close: async () => {} })
}

/** Opens as many connections as the service has, with the drivers alone. */
async function drivers(): Promise<Prepared> {
  const { default: pg } = await import('pg')
  await import('zod')
  const rabbit = world === 'rabbitmq' ? await import('amqplib') : undefined
  const kafka = world === 'kafka' ? await import('kafkajs') : undefined
  const redis = world === 'postgres' ? undefined : await import('ioredis')
  return async () => {
    const closing: Closing = []
    const pool = new pg.Pool({ connectionString: addresses.postgres })
    const listener = new pg.Client({ connectionString: addresses.postgres })
    closing.push(
      () => pool.end(),
      () => listener.end(),
    )
    await Promise.all([listener.connect(), pool.query('SELECT 1'), pool.query('SELECT 1')])
    if (rabbit !== undefined) {
      const connection = await rabbit.connect(addresses.rabbitmq)
      await Promise.all([connection.createChannel(), connection.createConfirmChannel()])
      closing.push(() => connection.close())
    }
    if (kafka !== undefined) {
      const client = new kafka.Kafka({ brokers: [addresses.kafka], logLevel: 0 })
      const [producer, admin] = [client.producer(), client.admin()]
      await Promise.all([producer.connect(), admin.connect()])
      closing.push(
        () => producer.disconnect(),
        () => admin.disconnect(),
      )
    }
    if (redis !== undefined) {
      const clients = [new redis.Redis(addresses.redis), new redis.Redis(addresses.redis)]
      await Promise.all(clients.map((client) => client.ping()))
      closing.push(...clients.map((client) => () => client.quit()))
    }
    return { close: () => Promise.all(closing.map((end) => end())) }
  }
}

/** A service with every part there is. */
async function service(): Promise<Prepared> {
  const { createBus } = await import('concordat/bus')
  const { defineChannel, processor, sink } = await import('concordat/binder')
  const { defineSaga, participant } = await import('concordat/saga')
  const { createService } = await import('concordat/service')
  const { z } = await import('zod')
  const make = await surroundings()
  const Item = z.object({ id: z.string() })
  const channel = (name: string) => defineChannel(`bench.idle.${name}`, { payload: Item, key: ({ id }) => id })
  const [placed, commands, done, told] = [channel('placed'), channel('commands'), channel('done'), channel('told')]
  const saga = defineSaga('bench-idle', { version: 1, input: Item })
    .command('charge', { to: commands, request: ({ input }) => input, compensate: true })
    .step('confirm', { pivot: true, invoke: () => {} })
  return async () => {
    const closing: Closing = []
    const running = createService({
      name: 'bench-idle',
      ...make(closing),
      sagas: [saga],
      bindings: [
        sink(placed, { group: 'idle', once: true }, () => {}),
        processor(done, told, { group: 'idle' }, (item) => item),
        participant(commands, { group: 'idle' }, { invoke: () => {}, compensate: () => {} }),
      ],
      sends: [placed, done],
      leads: {
        role: ({ signal }) => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())),
      },
      schedules: { nightly: { jobs: [{ name: 'report', cron: '0 3 * * *', work: () => {} }] } },
      bus: ({ service: name, instance, logger }) => createBus({ service: name, instance, logger }),
    })
    closing.unshift(() => running.close())
    await running.start()
    await running.ready()
    return {
      close: async () => {
        for (const end of closing) await end()
      },
    }
  }
}

/** Prepares the surroundings of a service: imports them now, opens them when called. */
async function surroundings(): Promise<
  (closing: Closing) => Pick<ServiceOptions, 'sql' | 'listener' | 'transport' | 'locks' | 'cluster'>
> {
  const { default: pg } = await import('pg')
  const { pgClient, pgListener } = await import('concordat/core/pg')
  const connectionString = addresses.postgres
  const database = (closing: Closing) => {
    const pool = new pg.Pool({ connectionString })
    const listener = pgListener({ connect: () => new pg.Client({ connectionString }) })
    closing.push(
      () => listener.close(),
      () => pool.end(),
    )
    return { sql: pgClient(pool), listener }
  }
  if (world === 'postgres') {
    const { postgresTransport } = await import('concordat/postgres')
    const { postgresLocks } = await import('concordat/postgres')
    const { postgresStateStore } = await import('concordat/postgres')
    return (closing) => {
      const here = database(closing)
      return {
        ...here,
        transport: postgresTransport(here),
        locks: ({ instance, logger }) => postgresLocks({ ...here, owner: instance, logger }),
        cluster: { store: postgresStateStore(here) },
      }
    }
  }
  const transport = world === 'kafka' ? await onKafka() : await onRabbit()
  const { redisLocks } = await import('concordat/redis')
  const { redisStateStore } = await import('concordat/redis')
  return (closing) => {
    const store = redisStateStore({ url: addresses.redis })
    closing.push(() => store.close())
    return {
      ...database(closing),
      transport: transport(),
      locks: ({ instance, logger }) => redisLocks({ url: addresses.redis, owner: instance, logger }),
      cluster: { store },
    }
  }
}

async function onKafka(): Promise<() => ServiceOptions['transport']> {
  const { kafkaTransport } = await import('concordat/binder/kafka')
  const { Kafka } = await import('kafkajs')
  return () => kafkaTransport({ kafka: new Kafka({ brokers: [addresses.kafka], logLevel: 0 }) })
}

async function onRabbit(): Promise<() => ServiceOptions['transport']> {
  const { rabbitTransport } = await import('concordat/binder/rabbitmq')
  return () => rabbitTransport({ url: addresses.rabbitmq })
}
