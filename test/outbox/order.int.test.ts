import { randomInt } from 'node:crypto'
import { pgClient, pgTransaction } from 'concordat/core/pg'
import { createOutbox, createRelay, type Relay } from 'concordat/outbox'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { message, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { setupOutboxOn } from './support/setup.ts'

const WRITERS = 24
const TRANSACTIONS = 120
const AGGREGATES = 50

describeWith(['postgres'], 'order and loss under load', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(WRITERS + 2)
  })
  afterAll(() => database.drop())

  /** A writer changes its aggregate's row, which makes it wait for others on it, then adds the message of that version. */
  async function write(t: Awaited<ReturnType<typeof setup>>, committed: Map<string, number[]>): Promise<void> {
    const aggregate = `a${randomInt(AGGREGATES)}`
    let version = 0
    const done = t.sql.transaction(async (tx) => {
      if (randomInt(2) === 0) await tx.query(`INSERT INTO "${t.schema}".unrelated VALUES (1)`)
      await pause(randomInt(8))
      const { rows } = await tx.query<{ version: number }>(
        `UPDATE "${t.schema}".aggregate SET version = version + 1 WHERE id = $1 RETURNING version`,
        [aggregate],
      )
      version = rows[0]?.version as number
      await t.outbox.addEncoded(tx, [message(`${aggregate}/${version}`, aggregate)])
      await pause(randomInt(8))
      if (randomInt(10) === 0) throw new Error('rolled back on purpose')
    })
    await done.then(
      () => committed.set(aggregate, [...(committed.get(aggregate) ?? []), version]),
      (error: unknown) => expect(error).toHaveProperty('message', 'rolled back on purpose'),
    )
  }

  async function setup() {
    const t = await setupOutboxOn(database.sql, { partitions: 4 })
    const { schema } = t.outbox
    await t.sql.query(`CREATE TABLE "${schema}".aggregate (id text PRIMARY KEY, version int NOT NULL DEFAULT 0)`)
    await t.sql.query(`INSERT INTO "${schema}".aggregate SELECT 'a' || i FROM generate_series(0, ${AGGREGATES - 1}) i`)
    await t.sql.query(`CREATE TABLE "${schema}".unrelated (n int)`)
    return { ...t, schema }
  }

  test('24 writers, rollbacks, early writes, long transactions, relays that come and go: nothing lost, doubled or inverted', async () => {
    await using t = await setup()
    const pools = Array.from({ length: 3 }, () => new pg.Pool({ connectionString: database.url, max: 4 }))
    const start = async (pool: pg.Pool): Promise<Relay> => {
      const relay = createRelay({
        outbox: createOutbox({ sql: pgClient(pool), service: 'orders', schema: t.schema, partitions: 4 }),
        publisher: t.publisher,
        leaseMs: 1_000,
        batchSize: 100,
        idlePollMs: 20,
      })
      await relay.start()
      return relay
    }
    t.publisher.before = () => pause(randomInt(5))
    const relays = await Promise.all(pools.map(start))
    const committed = new Map<string, number[]>()
    let writing = true
    const longOpen = (async () => {
      while (writing) {
        await t.sql.transaction(async (tx) => {
          await tx.query(`INSERT INTO "${t.schema}".unrelated VALUES (2)`)
          await pause(300)
        })
      }
    })()
    const restarts = (async () => {
      for (let i = 0; writing; i++) {
        await relays[i % 3]?.close()
        relays[i % 3] = await start(pools[i % 3] as pg.Pool)
        await pause(200)
      }
    })()
    await Promise.all(
      Array.from({ length: WRITERS }, async () => {
        for (let i = 0; i < TRANSACTIONS; i++) await write(t, committed)
      }),
    )
    writing = false
    await Promise.all([longOpen, restarts])
    await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
    await Promise.all(relays.map((relay) => relay.close()))
    await Promise.all(pools.map((pool) => pool.end()))
    for (const [aggregate, versions] of committed) {
      const expected = versions.toSorted((a, b) => a - b).map((version) => `${aggregate}/${version}`)
      expect(t.publisher.idsOf(aggregate)).toEqual(expected)
    }
    const total = [...committed.values()].reduce((sum, versions) => sum + versions.length, 0)
    expect(t.publisher.confirmed).toHaveLength(total)
    expect(total).toBeGreaterThan(2_000)
  })

  test('a row that commits after a later one is not lost, as it is to a reader with a cursor', async () => {
    await using t = await setup()
    const seen: string[] = []
    let cursor = '0'
    const readByCursor = async (): Promise<void> => {
      const { rows } = await t.sql.query<{ id: string; seq: string }>(
        `SELECT id, seq::text AS seq FROM "${t.schema}".outbox WHERE seq > $1::bigint ORDER BY seq`,
        [cursor],
      )
      seen.push(...rows.map((row) => row.id))
      cursor = rows.at(-1)?.seq ?? cursor
    }
    const early = await database.pool.connect()
    await early.query('BEGIN')
    await t.outbox.addEncoded(pgTransaction(early), [message('early', 'a')])
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('late', 'b')]))
    await readByCursor()
    await t.relay({ idlePollMs: 5 }).start()
    await until(() => t.publisher.ids.includes('late'), 'late published')
    t.publisher.before = readByCursor
    await early.query('COMMIT')
    early.release()
    await until(() => t.publisher.ids.includes('early'), 'early published')
    expect(t.publisher.ids).toEqual(['late', 'early'])
    expect(seen).toEqual(['late'])
  })

  test('versions of one aggregate keep their order where the transaction id horizon inverts them', async () => {
    await using t = await setup()
    const [b, c] = [await database.pool.connect(), await database.pool.connect()]
    for (const session of [b, c]) {
      await session.query('BEGIN')
      await session.query(`INSERT INTO "${t.schema}".unrelated VALUES (3)`)
    }
    const bump = `UPDATE "${t.schema}".aggregate SET version = version + 1 WHERE id = 'a1'`
    await t.sql.transaction(async (tx) => {
      await tx.query(bump)
      await t.outbox.addEncoded(tx, [message('v1', 'a1')])
    })
    await b.query(bump)
    await t.outbox.addEncoded(pgTransaction(b), [message('v2', 'a1')])
    await b.query('COMMIT')
    const horizon = await t.sql.query<{ id: string }>(
      `SELECT id FROM "${t.schema}".outbox WHERE xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint`,
    )
    expect(horizon.rows.map((row) => row.id)).toEqual(['v2'])
    await t.relay().start()
    await until(() => t.publisher.confirmed.length === 2, 'published')
    expect(t.publisher.ids).toEqual(['v1', 'v2'])
    await c.query('COMMIT')
    for (const session of [b, c]) session.release()
  })
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
