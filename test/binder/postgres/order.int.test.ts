import { randomInt } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { type Binder, createBinder, defineChannel, encodeMessage, sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { type PostgresTransport, postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import type { PostgresTransportOptions } from '../../support/inside/binder.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const WRITERS = 16
const TRANSACTIONS = 60
const AGGREGATES = 20
const Change = z.object({ aggregate: z.string(), version: z.number().int() })
type Change = z.infer<typeof Change>
const changes = defineChannel('changes', {
  payload: Change,
  key: (change) => change.aggregate,
  groups: ['fast', 'slow'],
})

describeWith(['postgres'], 'the log under load', () => {
  let database: TestDatabase
  const pools: pg.Pool[] = []
  const binders: Binder[] = []
  beforeAll(async () => {
    database = await createDatabase(WRITERS + 4)
    await database.sql.query('CREATE TABLE aggregate (id text PRIMARY KEY, version int NOT NULL DEFAULT 0)')
    await database.sql.query(`INSERT INTO aggregate SELECT 'a' || i FROM generate_series(0, ${AGGREGATES - 1}) i`)
    await database.sql.query('CREATE TABLE unrelated (n int)')
  })
  afterAll(async () => {
    await Promise.all(binders.map((binder) => binder.close()))
    await Promise.all(pools.map((pool) => pool.end()))
    await database.drop()
  })

  const clientOf = (max = 4): ReturnType<typeof pgClient> => {
    const pool = new pg.Pool({ connectionString: database.url, max })
    pools.push(pool)
    return pgClient(pool)
  }

  async function member(
    group: string,
    got: Change[],
    options: Partial<PostgresTransportOptions> = {},
  ): Promise<Binder> {
    const transport = postgresTransport({ sql: clientOf(), pollMs: 50, leaseMs: 1_000, ...options })
    const binding = sink(changes, { group, concurrency: 4, prefetch: 50 }, async (change) => {
      await pause(randomInt(3))
      got.push(change)
    })
    const binder = createBinder({ service: `reader-${group}`, transport, bindings: [binding] })
    binders.push(binder)
    await binder.start()
    return binder
  }

  /** A writer changes its aggregate's row, which makes it wait for others on it, then publishes that version with it. */
  async function write(transport: PostgresTransport, sql: TestDatabase['sql'], committed: Change[]): Promise<void> {
    const aggregate = `a${randomInt(AGGREGATES)}`
    let version = 0
    const work = sql.transaction(async (tx) => {
      if (randomInt(2) === 0) await tx.query('INSERT INTO unrelated VALUES (1)')
      await pause(randomInt(5))
      const { rows } = await tx.query<{ version: number }>(
        'UPDATE aggregate SET version = version + 1 WHERE id = $1 RETURNING version',
        [aggregate],
      )
      version = rows[0]?.version as number
      if (randomInt(3) === 0) await tx.query('SAVEPOINT s')
      await transport.publishIn?.(tx, [await encodeMessage(changes, { aggregate, version }, 'writer')])
      await pause(randomInt(5))
      if (randomInt(10) === 0) throw new Error('rolled back on purpose')
    })
    await work.then(
      () => committed.push({ aggregate, version }),
      (error: unknown) => expect(error).toHaveProperty('message', 'rolled back on purpose'),
    )
  }

  test('16 writers, rollbacks, savepoints, an open transaction, members that come and go, a ring that turns: nothing lost, nothing inverted', async () => {
    const sql = clientOf(WRITERS + 2)
    const options = { segmentBytes: 64 * 1024, segmentMs: 100, retentionMs: 0 }
    const transport = postgresTransport({ sql, pollMs: 50, ...options })
    const writer = createBinder({ service: 'writer', transport, sends: [changes] })
    binders.push(writer)
    await writer.start()
    const began = await turnedAt()
    const open = new pg.Client({ connectionString: database.url })
    await open.connect()
    open.on('error', () => {})
    await open.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await open.query('INSERT INTO unrelated VALUES (0)')
    const fast: Change[] = []
    const slow: Change[] = []
    const slowMember = await member('slow', slow, options)
    slowMember.binding('changes.slow').pause()
    let fastMember = await member('fast', fast, options)
    const committed: Change[] = []
    let isWriting = true
    const coming = (async () => {
      while (isWriting) {
        await pause(300)
        const next = await member('fast', fast, options)
        await fastMember.close()
        fastMember = next
      }
    })()
    await Promise.all(
      Array.from({ length: WRITERS }, async () => {
        for (let n = 0; n < TRANSACTIONS; n++) await write(transport, sql, committed)
      }),
    )
    isWriting = false
    await coming
    slowMember.binding('changes.slow').resume()
    const missing = (got: readonly Change[]): Change[] => {
      const seen = new Set(got.map(({ aggregate, version }) => `${aggregate}/${version}`))
      return committed.filter(({ aggregate, version }) => !seen.has(`${aggregate}/${version}`))
    }
    await until('both groups have all of it', () => missing(fast).length + missing(slow).length === 0, 60_000)
    await open.query('ROLLBACK')
    await open.end()
    for (const got of [fast, slow]) {
      const known = new Set(committed.map(({ aggregate, version }) => `${aggregate}/${version}`))
      expect(
        got.filter(({ aggregate, version }) => !known.has(`${aggregate}/${version}`)),
        'never committed',
      ).toEqual([])
      expect(inversions(got)).toEqual([])
    }
    expect(await turnedAt(), 'the ring has turned').not.toEqual(began)
  }, 120_000)

  test('long lists keep the order of every key, also when the next is sent before the last is confirmed', async () => {
    const got: Change[] = []
    const reader = await member('lists', got)
    const transport = postgresTransport({ sql: clientOf() })
    const writer = createBinder({ service: 'lists', transport, sends: [changes] })
    binders.push(writer)
    await writer.start()
    const list = Array.from({ length: 4_000 }, (_, n) => ({ aggregate: `l${n % 7}`, version: Math.floor(n / 7) }))
    const lists = Array.from({ length: 8 }, (_, n) => list.slice(n * 500, (n + 1) * 500))
    await Promise.all(lists.map((each) => writer.sendBatch(changes, each)))
    const arrived = (): number => got.filter(({ aggregate }) => aggregate.startsWith('l')).length
    await until('all are there', () => arrived() === list.length, 120_000)
    await reader.close()
    for (let key = 0; key < 7; key++) {
      const versions = got.filter(({ aggregate }) => aggregate === `l${key}`).map(({ version }) => version)
      expect(versions).toEqual(versions.map((_, n) => n))
    }
  })

  async function turnedAt(): Promise<unknown> {
    return (await database.sql.query('SELECT since FROM concordat.transport_ring')).rows
  }

  /** Versions after a higher one of the same aggregate that are no repeats. */
  function inversions(got: readonly Change[]): Change[] {
    const seen = new Map<string, Set<number>>()
    const highest = new Map<string, number>()
    return got.filter(({ aggregate, version }) => {
      const before = seen.get(aggregate) ?? new Set<number>()
      seen.set(aggregate, before)
      const isRepeat = before.has(version)
      before.add(version)
      const top = highest.get(aggregate) ?? 0
      highest.set(aggregate, Math.max(top, version))
      return !isRepeat && version < top
    })
  }
})
