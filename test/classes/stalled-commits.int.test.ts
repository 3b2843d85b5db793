/**
 * The synchronous standby is down, so commits wait until the pool's `query_timeout` ends them; they complete when a standby is
 * back. Until then no message and no command uses up an attempt.
 */
import { createBinder, defineChannel, sink, sinkBatch } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { createInbox, type SqlInbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, FAST, openEmbedded, setupWorld, stockCommands } from '../saga/support/world.ts'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const LIMITS = { query_timeout: 500, connectionTimeoutMillis: 5_000 }
const numbers = defineChannel('numbers', { payload: z.number(), key: String, groups: ['g'] })
/** The first attempt that counts is the last one. */
const OPTIONS = { group: 'g', maxAttempts: 1, backoff: { initialMs: 1, maxMs: 1 } } as const
const MESSAGES = [1, 2, 3, 4]

type Work = (tx: SqlTransaction, n: number) => Promise<void>

const BINDINGS = [
  ['sink', (inbox: SqlInbox, work: Work) => sink(numbers, { ...OPTIONS, inbox }, (n, { tx }) => work(tx, n))],
  [
    'sink that shares transactions',
    (inbox: SqlInbox, work: Work) =>
      sink(numbers, { ...OPTIONS, inbox, concurrency: MESSAGES.length }, (n, { tx }) => work(tx, n)),
  ],
  [
    'batch',
    (inbox: SqlInbox, work: Work) =>
      sinkBatch(numbers, { ...OPTIONS, inbox, batch: { maxWaitMs: 50 } }, async (items, { tx }) => {
        for (const { payload } of items) await work(tx, payload)
      }),
  ],
] as const

describeWith(['postgres'], 'while commits wait for a synchronous standby', { private: true }, () => {
  let server: PrivateServer
  let admin: pg.Client
  beforeAll(async () => {
    server = await startServer('postgres')
    admin = new pg.Client({ connectionString: server.url })
    await admin.connect()
    await admin.query('CREATE TABLE effect (n int)')
    await admin.query('CREATE TABLE probe ()')
    const pool = new pg.Pool({ connectionString: server.url })
    await createInbox({ sql: pgClient(pool) }).migrate()
    await pool.end()
    await openEmbedded()
  }, 120_000)
  afterAll(async () => {
    await admin.end()
    await server.stop()
    await closeEmbedded()
  })

  /** A client whose statements time out, and the actions of its handlers. */
  async function setup() {
    await admin.query('TRUNCATE effect, concordat.inbox')
    const pool = new pg.Pool({ connectionString: server.url, max: 20, ...LIMITS })
    pool.on('error', () => {})
    const sql = pgClient(pool, { logger: silentLogger })
    onTestFinished(() => pool.end())
    const calls: number[] = []
    const work: Work = async (tx, n) => {
      calls.push(n)
      await tx.query('INSERT INTO effect VALUES ($1)', [n])
    }
    const effects = async (): Promise<number[]> =>
      (await admin.query<{ n: number }>('SELECT n FROM effect ORDER BY n')).rows.map(({ n }) => n)
    return { sql, calls, work, effects }
  }

  async function standby(names: string): Promise<void> {
    await admin.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`)
    await admin.query('SELECT pg_reload_conf()')
  }

  /** Resolves when commits wait. @returns ends that */
  async function stall(): Promise<() => Promise<void>> {
    const writer = new pg.Client({ connectionString: server.url })
    await writer.connect()
    let probe: Promise<unknown> | undefined
    const resume = async (): Promise<void> => {
      await standby('')
      await probe
    }
    onTestFinished(() => resume().then(() => writer.end()))
    await standby('absent')
    await until('commits wait', async () => {
      probe ??= writer.query('INSERT INTO probe DEFAULT VALUES').finally(() => (probe = undefined))
      return (await sessions("wait_event = 'SyncRep'")) > 0
    })
    return resume
  }

  async function sessions(condition: string): Promise<number> {
    return (await admin.query(`SELECT FROM pg_stat_activity WHERE ${condition}`)).rowCount ?? 0
  }

  /** Each attempt after the first leaves a session that waits for the commit of the first. */
  async function attempts(statement: string): Promise<number> {
    return sessions(`wait_event_type = 'Lock' AND query LIKE '%${statement}%'`)
  }

  test.each(BINDINGS)('a %s uses no attempt up, and each effect happens once', async (_, bind) => {
    const { sql, calls, work, effects } = await setup()
    const binding = bind(createInbox({ sql }), work)
    const binder = createBinder({
      service: 's',
      transport: memoryTransport(),
      sends: [numbers],
      bindings: [binding],
      logger: silentLogger,
    })
    onTestFinished(() => binder.close())
    await binder.start()
    const status = () => binder.binding('numbers.g').status()
    const resume = await stall()
    await binder.sendBatch(numbers, MESSAGES)
    await until(
      'they are tried again',
      async () => (await attempts('.inbox ')) >= MESSAGES.length || status().deadLettered > 0,
    )
    await resume()
    await until('all came to an end', () => status().handled + status().deadLettered === MESSAGES.length)
    expect([status().handled, status().deadLettered]).toEqual([MESSAGES.length, 0])
    expect(await effects()).toEqual(MESSAGES)
    expect(calls.toSorted((a, b) => a - b)).toEqual(MESSAGES)
  })

  test.each(['anywhere', 'tx'] as const)(
    'a participant with effects %s uses no attempt up, and its effect happens once',
    async (where) => {
      const { sql, calls, work, effects } = await setup()
      const saga = defineSaga('s', { version: 1, input: z.object({}) }).command('c', {
        to: stockCommands,
        request: () => ({ sku: 'apple', n: 1 }),
        compensate: true,
        timeoutMs: 60_000,
        retry: { maxAttempts: 1, ...FAST },
      })
      const world = await setupWorld({
        sagas: [saga],
        stockSql: sql,
        participantAttempts: 1,
        effects: where,
        handlers: { invoke: ({ n }, { tx }) => work(tx, n), compensate: () => undefined },
      })
      onTestFinished(() => world.close())
      await world.start()
      const resume = await stall()
      const run = await world.coordinator.start(saga, { id: '1', input: {} })
      await until(
        'it is tried again',
        async () => (await attempts('.saga_barrier ')) >= 3 || world.stock().status().deadLettered > 0,
      )
      await resume()
      expect(world.stock().status().deadLettered).toBe(0)
      expect((await run.outcome({ timeoutMs: 30_000 })).status).toBe('completed')
      expect([await effects(), calls]).toEqual([[1], [1]])
    },
  )
})
