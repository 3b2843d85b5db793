/**
 * The rule of `health.int.test.ts` for all parts of a service at once: transport and bindings, relay, coordinator,
 * participant, locks, candidates, cluster and bus. Each reports within ten seconds that its server stopped, hangs or
 * refuses, and that it works again, whether the service is busy or idle.
 */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { createBus } from 'concordat/bus'
import { silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { defineSaga, participant } from 'concordat/saga'
import { createService, type Service } from 'concordat/service'
import { Kafka } from 'kafkajs'
import { Pool } from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

/** The limit of the rule, and the time that a loaded machine may take more. */
const LIMIT_MS = 10_000 + 5_000

const Input = z.object({ n: z.number() })
const numbers = defineChannel('numbers', { payload: Input, groups: ['g'] })
const commands = defineChannel('commands', { payload: Input })
const PARTS = ['binder', 'relay', 'coordinator', 'locks', 'leads role', 'membership', 'bus']

describeWith(['postgres'], 'health of a service on PostgreSQL', { private: true }, () => {
  let server: PrivateServer
  let pool: Pool
  let service: Service

  beforeAll(async () => {
    server = await startServer('postgres')
    await admin(
      'CREATE ROLE shop LOGIN; CREATE SCHEMA concordat AUTHORIZATION shop; GRANT CREATE ON DATABASE postgres TO shop',
    )()
    const url = new URL(server.url)
    url.username = 'shop'
    pool = new Pool({ connectionString: url.href, max: 10 })
    pool.on('error', () => {})
    const sql = pgClient(pool)
    const locks = postgresLocks({ sql, logger: silentLogger })
    const store = postgresStateStore({ sql, logger: silentLogger })
    const saga = defineSaga('s', { version: 1, input: Input }).command('c', {
      to: commands,
      request: ({ input }) => input,
      compensate: 'none',
    })
    service = createService({
      name: 'shop',
      sql,
      transport: postgresTransport({ sql }),
      bindings: [
        sink(numbers, { group: 'g' }, () => {}),
        participant(commands, { group: 'p' }, { invoke: () => {}, compensate: () => {} }),
      ],
      sends: [numbers],
      sagas: [saga],
      locks,
      leads: { role: (term) => new Promise<void>((resolve) => term.signal.addEventListener('abort', () => resolve())) },
      cluster: { store },
      bus: ({ service: own, instance, logger }) => createBus({ service: own, instance, logger }),
      logger: silentLogger,
    })
    await service.start()
    await (await locks.tryAcquire('k'))?.release()
    await until('all is up', () => PARTS.every((name) => statusOf(name) === 'up'), 60_000)
  }, 120_000)
  afterAll(async () => {
    await service.close()
    await pool.end()
    await server.stop()
  })

  const statusOf = (name: string): string | undefined => service.health().parts[name]?.status
  const admin = (text: string) => async (): Promise<void> => {
    const own = new Pool({ connectionString: server.url, max: 1, options: '-c default_transaction_read_only=off' })
    try {
      for (const statement of text.split(';')) await own.query(statement)
    } finally {
      await own.end()
    }
  }
  const readOnly = (on: string): string =>
    `ALTER SYSTEM SET default_transaction_read_only = ${on}; SELECT pg_reload_conf()`
  const failures: Readonly<Record<string, readonly [begin: () => unknown, end: () => unknown]>> = {
    'is killed': [() => server.kill(), () => server.start()],
    hangs: [() => server.pause(), () => server.resume()],
    'only reads': [admin(readOnly('on')), admin(readOnly('off'))],
    'has taken its rights away': [
      admin('REVOKE ALL ON SCHEMA concordat FROM shop'),
      admin('GRANT ALL ON SCHEMA concordat TO shop'),
    ],
  }

  it.for(Object.keys(failures))('every part reports that its server %s, and that it works again', async (name) => {
    const [begin, end] = failures[name] ?? expect.fail(name)
    await begin()
    const late = (status: string) => PARTS.filter((part) => statusOf(part) !== status)
    try {
      await until('', () => late('down').length === 0, LIMIT_MS).catch(() => {})
      expect(late('down'), 'parts that are not down').toEqual([])
    } finally {
      await end()
    }
    await until('', () => late('up').length === 0, LIMIT_MS).catch(() => {})
    expect(
      late('up').map((part) => [part, service.health().parts[part]]),
      'parts that are not up again',
    ).toEqual([])
  })
})

const BROKERS = {
  rabbitmq: (url: string): Transport => rabbitTransport({ url }),
  kafka: (url: string): Transport => kafkaTransport({ kafka: new Kafka({ brokers: [url], logLevel: 0 }) }),
}

describeWith(['rabbitmq', 'kafka'], 'health of an idle binder, and of its bus', { private: true }, () => {
  it.concurrent.for(['rabbitmq', 'kafka'] as const)(
    'is down within ten seconds when %s hangs or is killed, and up again with it',
    { timeout: 300_000 },
    async (kind, { onTestFinished }) => {
      const server = await startServer(kind)
      onTestFinished(() => server.stop())
      const bus = createBus({ service: 'shop', instance: 'shop-1', logger: silentLogger })
      const binder = createBinder({
        service: 'shop',
        transport: BROKERS[kind](server.url),
        bindings: [sink(numbers, { group: 'g' }, () => {}), ...bus.bindings],
        sends: [numbers, ...bus.channels],
        logger: silentLogger,
      })
      onTestFinished(() => bus.close().then(() => binder.close()))
      await binder.start()
      await bus.start(binder)
      const statuses = () => [binder.health().status, bus.health().status]
      const become = (status: string, why: string) =>
        until(`${status}, ${why}`, () => statuses().every((each) => each === status), LIMIT_MS)
      await until('all is up', () => statuses().every((each) => each === 'up'), 60_000)
      server.pause()
      try {
        await become('down', 'it hangs')
      } finally {
        server.resume()
      }
      await become('up', 'it hung')
      await server.kill()
      await become('down', 'it was killed')
      await server.start()
      await become('up', 'it is back')
    },
  )
})
