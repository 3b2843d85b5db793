/**
 * Log lines about a server that is down: one for each lost connection, with the reason, and none for each attempt, so
 * that an operator can still find other problems.
 */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { redisLocks, redisStateStore } from 'concordat/redis'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { Kafka } from 'kafkajs'
import { Pool } from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { describeWith, startServer } from '../support/servers/index.ts'
import { isNight } from '../support/suite/night.ts'
import { until } from '../support/until.ts'

/** Long enough for several attempts of everything. */
const AWAY_MS = isNight ? 8_000 : 3_000

function keepingLog() {
  const lines: string[] = []
  const ignore = (): void => {}
  const keep = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    const reason = fields['err'] instanceof Error ? fields['err'].message : ''
    lines.push(`${message}: ${reason}`)
  }
  return { lines, logger: { debug: ignore, info: ignore, warn: keep, error: keep } }
}

const away = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, AWAY_MS))
const TRANSPORTS = {
  rabbitmq: (url: string): Transport => rabbitTransport({ url }),
  kafka: (url: string): Transport => kafkaTransport({ kafka: new Kafka({ brokers: [url], logLevel: 0 }) }),
}

describeWith(['rabbitmq', 'kafka'], 'the log of a binder whose broker is killed', { private: true }, () => {
  it.for(['rabbitmq', 'kafka'] as const)(
    '%s: one line for all bindings and attempts, with the reason',
    { timeout: 400_000 },
    async (kind) => {
      const server = await startServer(kind)
      onTestFinished(() => server.stop())
      const { lines, logger } = keepingLog()
      const channels = ['a', 'b', 'c'].map((name) => defineChannel(name, { payload: z.unknown() }))
      const bindings = channels.map((channel) => sink(channel, { group: 'g' }, () => {}))
      const binder = createBinder({ service: 's', transport: TRANSPORTS[kind](server.url), logger, bindings })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready()
      lines.length = 0
      await server.kill()
      await until('it is noticed', () => lines.length > 0, 60_000)
      await away()
      await server.start()
      await until('it is up again', () => binder.health().status === 'up', 120_000)
      expect(lines).toHaveLength(1)
      // A driver may also report that its connection was closed, that no broker is left, or hang until the session
      // times out.
      expect(lines[0], lines[0]).toMatch(
        /^binding has no subscription, connecting: .*(?:ECONNRESET|ECONNREFUSED|EPIPE|[Cc]onnection|answered|No broker available)/,
      )
      lines.length = 0
      await server.kill()
      await until('the next time is told again', () => lines.length > 0, 60_000)
      await server.start()
      await until('it is up again', () => binder.health().status === 'up', 120_000)
      expect(lines).toHaveLength(1)
    },
  )
})

describeWith(['postgres', 'redis'], 'the log of a service whose database is killed', { private: true }, () => {
  it('the log has one line for each failing part, with the reason', async () => {
    const [postgres, redis] = await Promise.all([startServer('postgres'), startServer('redis')])
    onTestFinished(() => Promise.all([postgres.stop(), redis.stop()]).then(() => undefined))
    const { lines, logger } = keepingLog()
    const pool = new Pool({ connectionString: postgres.url })
    pool.on('error', () => {})
    const saga = defineSaga('s', { version: 1, input: z.object({}) }).step('a', {
      invoke: () => {},
      compensate: 'none',
    })
    const locks = redisLocks({ url: redis.url, logger })
    const store = redisStateStore({ url: redis.url })
    const service = createService({
      name: 's',
      sql: pgClient(pool),
      transport: memoryTransport(),
      sagas: [saga],
      locks,
      cluster: { store },
      leads: { role: (term) => new Promise<void>((resolve) => term.signal.addEventListener('abort', () => resolve())) },
      logger,
    })
    onTestFinished(async () => {
      await service.close()
      await Promise.all([locks.close(), store.close(), pool.end()])
    })
    await service.start()
    await service.ready()
    const state = service.sharedState<number>('x')
    await state.put('k', 1)
    lines.length = 0
    await Promise.all([postgres.kill(), redis.kill()])
    await away()
    await Promise.all([postgres.start(), redis.start()])
    await until('it is up again', () => service.health().status === 'up', 120_000)
    const said = lines.map((line) => line.split(': ')[0])
    expect(said.length).toBeGreaterThan(2)
    expect(said).toHaveLength(new Set(said).size)
    expect(lines.filter((line) => !/ECONNREFUSED|terminated|no answer/.test(line))).toEqual([])
  })
})
