/**
 * `settlesIn` of whole binders on a real server: members that share a group, connections that die in the middle. PGlite has one
 * connection, so what several of them do to each other is seen here alone.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type ConsumerBinding, combineTransports, createBinder, defineChannel, processor, sink } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const Numbered = z.object({ n: z.number().int() })
let channels = 0
/** A channel that no other test uses, nor another try of the same one. */
const channelOf = (name: string) =>
  defineChannel(`${name}-${channels++}`, {
    payload: Numbered,
    key: ({ n }) => String(n % 7),
    groups: ['g'],
    partitions: 4,
    transactional: true,
  })
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

describeWith(['postgres'], 'settlesIn on a server', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(4)
    // Not unique: an effect that is there twice has to be seen.
    await database.sql.query('CREATE TABLE effect (channel text NOT NULL, n int NOT NULL)')
  })
  afterAll(() => database.drop())

  /** A process: pool, transport and binder of its own. */
  async function member(
    bindings: (sql: SqlClient) => readonly ConsumerBinding[],
    around: (log: Transport) => Transport = (log) => log,
  ) {
    const pool = new pg.Pool({ connectionString: database.url, max: 6, application_name: 'settles-in' })
    pool.on('error', () => {})
    const sql = pgClient(pool, { logger: silentLogger })
    const transport = around(postgresTransport({ sql, leaseMs: 2_000, pollMs: 50 }))
    const outbox = createOutbox({ sql, service: 'test', transport })
    const binder = createBinder({
      service: 'test',
      transport,
      bindings: bindings(sql),
      logger: silentLogger,
      drainTimeoutMs: 5_000,
    })
    onTestFinished(async () => {
      await binder.close()
      await pool.end()
    })
    await binder.start()
    await binder.ready()
    return { sql, binder, outbox }
  }

  const effectsOf = async (channel: string): Promise<readonly number[]> => {
    const { rows } = await database.sql.query<{ n: number }>('SELECT n FROM effect WHERE channel = $1 ORDER BY n', [
      channel,
    ])
    return rows.map(({ n }) => n)
  }

  /** Kills one random connection of the members at a time, and the next one only after progress: any machine is fast enough. */
  function killConnections(progress: () => Promise<number>): () => Promise<void> {
    let isOver = false
    const killing = (async () => {
      for (let seen = -1; !isOver; await pause(150)) {
        const now = await progress()
        if (now === seen) continue
        seen = now
        await database.sql.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'settles-in' AND datname = current_database() ORDER BY random() LIMIT 1`)
      }
    })()
    const stop = (): Promise<void> => {
      isOver = true
      return killing
    }
    onTestFinished(stop)
    return stop
  }

  const effect =
    (channel: ReturnType<typeof channelOf>, concurrency: number, fail: (n: number) => void = () => {}) =>
    (sql: SqlClient): ConsumerBinding =>
      sink(
        channel,
        { group: 'g', settlesIn: sql, concurrency, maxAttempts: 20, backoff: { initialMs: 20, maxMs: 100 } },
        async ({ n }, { tx }) => {
          await tx.query('INSERT INTO effect VALUES ($1, $2)', [channel.name, n])
          fail(n)
        },
      )

  test.for([1, 8])(
    'two members with concurrency %i: every effect once, while connections are killed',
    async (concurrency) => {
      const channel = channelOf(`killed-${concurrency}`)
      let failures = 0
      const binding = effect(channel, concurrency, (n) => {
        if (n % 50 === 0 && failures++ < 8) throw new Error('once in a while')
      })
      const first = await member((sql) => [binding(sql)])
      const second = await member((sql) => [binding(sql)])
      const stopKilling = killConnections(async () => (await effectsOf(channel.name)).length)
      // Over a connection that stays alive: repeating a commit without an answer is tested elsewhere.
      for (const n of upTo(300)) await database.sql.transaction((tx) => first.outbox.add(tx, channel, { n }))
      await until('most are handled', async () => (await effectsOf(channel.name)).length > 200, 90_000)
      await stopKilling()
      const name = `${channel.name}.g` as const
      await until('all are settled', async () => (await second.binder.lag(name).catch(() => undefined)) === 0, 60_000)
      expect(await effectsOf(channel.name)).toEqual(upTo(300))
      expect(failures).toBeGreaterThan(0)
    },
  )

  test('a processor on one of several transports: effect, output and place commit together', async () => {
    const [input, output] = [channelOf('combined-in'), channelOf('combined-out')]
    const around = (log: Transport): Transport =>
      combineTransports({ transports: { log, memory: memoryTransport() }, of: { there: 'memory' }, default: 'log' })
    let isFirst = true
    const doubled = (sql: SqlClient): ConsumerBinding =>
      processor(input, output, { group: 'g', settlesIn: sql, backoff: { initialMs: 10 } }, async ({ n }, { tx }) => {
        await tx.query('INSERT INTO effect VALUES ($1, $2)', [input.name, n])
        if (n === 3 && isFirst) {
          isFirst = false
          throw new Error('once')
        }
        return { n: 2 * n }
      })
    const { outbox, sql, binder } = await member((own) => [doubled(own), effect(output, 4)(own)], around)
    await sql.transaction(async (tx) => {
      for (const n of upTo(20)) await outbox.add(tx, input, { n })
    })
    await until('all went through', async () => (await effectsOf(output.name)).length >= 20)
    await until('all are settled', async () => (await binder.lag(`${input.name}.g` as const)) === 0)
    expect(await effectsOf(input.name)).toEqual(upTo(20))
    expect(await effectsOf(output.name)).toEqual(upTo(20).map((n) => 2 * n))
  })
})
