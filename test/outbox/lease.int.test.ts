import type { SqlClient } from 'concordat/core'
import { pgListener, pgTransaction } from 'concordat/core/pg'
import { createInbox, createOutbox } from 'concordat/outbox'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { message, uniqueName, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { FakePublisher } from './support/publisher.ts'
import { type OutboxSetup, setupOutboxOn } from './support/setup.ts'

describeWith(['postgres'], 'relays on a server', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(20)
  })
  afterAll(() => database.drop())

  /** A publisher that waits for `open` before it answers. */
  function gated(): { publisher: FakePublisher; asked: Promise<void>; open: () => void } {
    const publisher = new FakePublisher()
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    publisher.before = () => {
      asked.resolve()
      return answer.promise
    }
    return { publisher, asked: asked.promise, open: answer.resolve }
  }

  /** A client whose lease renewals fail from `cut` on, as when a process is suspended or its network is down. */
  function cuttable(t: OutboxSetup): { sql: SqlClient; cut: () => void } {
    let isCut = false
    const query: SqlClient['query'] = (text, parameters) =>
      isCut && text.includes('outbox_relay') ? Promise.reject(new Error('cut off')) : t.sql.query(text, parameters)
    return { sql: { ...t.sql, query }, cut: () => void (isCut = true) }
  }

  describe('a relay that lost its lease', () => {
    async function takenOver() {
      const t = await setupOutboxOn(database.sql, { partitions: 1 })
      const link = cuttable(t)
      const outbox = createOutbox({ sql: link.sql, service: 'orders', schema: t.outbox.schema, partitions: 1 })
      const [old, young] = [gated(), gated()]
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a1', 'a'), message('a2', 'a')]))
      const stale = t.relay({ outbox, publisher: old.publisher, leaseMs: 1_000 })
      await stale.start()
      await old.asked
      link.cut()
      const next = t.relay({ publisher: young.publisher, leaseMs: 1_000 })
      await next.start()
      await young.asked
      return { ...t, stale, old, young }
    }

    test('deletes nothing, and publishes nothing more', async () => {
      await using t = await takenOver()
      t.old.open()
      await until(() => t.old.publisher.confirmed.length === 1, 'answered')
      await t.stale.close()
      expect((await t.outbox.stats()).pending).toBe(2)
      expect(t.old.publisher.ids).toEqual(['a1'])
      t.young.open()
      await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
      expect(t.young.publisher.ids).toEqual(['a1', 'a2'])
    })

    test('parks nothing', async () => {
      await using t = await takenOver()
      t.old.publisher.verdict = () => 'too_large'
      t.old.open()
      await until(() => t.old.publisher.calls.length === 1, 'answered')
      await t.stale.close()
      expect(await t.outbox.stats()).toMatchObject({ pending: 2, parked: 0 })
      t.young.open()
      await until(() => t.young.publisher.confirmed.length === 2, 'published')
    })
  })

  test('a dead relay is replaced after its lease, by server time', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 4 })
    await t.sql.query(
      `UPDATE "${t.outbox.schema}".outbox_lease SET owner = 'dead', epoch = 7, lease_until = clock_timestamp() + interval '700 ms', lease_ms = 700`,
    )
    const relay = t.relay({ leaseMs: 1_000 })
    await relay.start()
    expect(relay.health().partitions).toEqual([])
    await until(() => relay.health().partitions.length === 4, 'taken over', 5_000)
    const { rows } = await t.sql.query(`SELECT DISTINCT epoch::int AS epoch FROM "${t.outbox.schema}".outbox_lease`)
    expect(rows).toEqual([{ epoch: 8 }])
  })

  test('every partition has one owner while relays come and go', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 8 })
    const relays = Array.from({ length: 4 }, () => t.relay({ leaseMs: 1_000 }))
    await Promise.all(relays.map((relay) => relay.start()))
    await until(() => relays.every((relay) => relay.health().partitions.length === 2), 'two each')
    await relays[0]?.close()
    await until(() => relays.slice(1).reduce((sum, r) => sum + r.health().partitions.length, 0) === 8, 'all again')
    const held = relays.flatMap((relay) => relay.health().partitions)
    expect(held.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('a large backlog that was never analyzed is not scanned for each window', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    const { schema } = t.outbox
    await t.sql.query(
      `INSERT INTO "${schema}".outbox (partition, id, aggregatetype, aggregateid, type, source, content_type, time)
       SELECT 0, 'm' || i, 'many', 'k' || i, 't', 's', 'c', 0 FROM generate_series(1, 200000) i`,
    )
    const relay = t.relay({ batchSize: 100 })
    await relay.start()
    await until(() => relay.health().published >= 20_000, '200 windows', 15_000)
  })

  test('a hundred thousand blocked keys do not keep another from leaving, with any statistics', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 1 })
    const table = `"${t.outbox.schema}".outbox`
    const fill = `INSERT INTO ${table} (partition, id, aggregatetype, aggregateid, type, source, content_type, time, next_attempt_at)
      SELECT 0, 'h' || i, 'held', 'a rather long key of an order ' || i, 't', 's', 'c', 0, $1 FROM generate_series(1, $2::int) i`
    await t.sql.query(fill, ['infinity', 100_000])
    await t.sql.query(fill, [null, 10_000])
    await t.sql.query(`ANALYZE ${table}`)
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('free', 'free')]))
    await t.relay().start()
    await until(() => t.publisher.ids.includes('free'), 'published', 10_000)
    expect(t.publisher.ids).toEqual(['free'])
  })

  describe('with statistics from when the outbox was empty', () => {
    /** A plan that compares each row with each sent one takes 0.1 ms for each of a thousand rows. */
    async function filledWith(count: number) {
      const t = await setupOutboxOn(database.sql, { partitions: 1 })
      const table = `"${t.outbox.schema}".outbox`
      const fill = () =>
        t.sql.query(
          `INSERT INTO ${table} (partition, id, aggregatetype, aggregateid, type, source, content_type, time)
           SELECT 0, 'e' || i, 'orders', 'k' || i, 't', 's', 'c', 0 FROM generate_series(1, $1::int) i`,
          [count],
        )
      await fill()
      await t.sql.query(`DELETE FROM ${table}`)
      await t.sql.query(`ANALYZE ${table}`)
      await fill()
      return { ...t, table }
    }

    test('a full partition is emptied', async () => {
      await using t = await filledWith(30_000)
      await t.relay().start()
      await until(() => t.publisher.ids.length === 30_000, 'published', 10_000)
      await until(async () => (await t.outbox.stats()).pending === 0, 'confirmed', 10_000)
    })

    test('failures are written', async () => {
      await using t = await filledWith(100_000)
      t.publisher.verdict = () => 'refused'
      await t.relay({ batchSize: 1_000 }).start()
      const failed = `SELECT count(*)::int AS n FROM ${t.table} WHERE attempts > 0`
      await until(async () => (await t.sql.query<{ n: number }>(failed)).rows[0]?.n !== 0, 'written', 8_000)
    })
  })

  test('migrations of many processes at once end in one set of tables', async () => {
    const schema = uniqueName('many')
    const outboxes = Array.from({ length: 8 }, () => createOutbox({ sql: database.sql, service: 'orders', schema }))
    const inbox = createInbox({ sql: database.sql, schema })
    await Promise.all([...outboxes.map((outbox) => outbox.migrate()), inbox.migrate(), inbox.migrate()])
    const { rows } = await database.sql.query(
      `SELECT part, version FROM "${schema}".concordat_migration ORDER BY part, version`,
    )
    expect(rows).toEqual([
      { part: 'inbox', version: 1 },
      { part: 'outbox', version: 1 },
    ])
  })

  describe("in the caller's own pg transaction", () => {
    test('add commits with it', async () => {
      await using t = await setupOutboxOn(database.sql)
      await t.relay().start()
      const client = await database.pool.connect()
      await client.query('BEGIN')
      await t.outbox.addEncoded(pgTransaction(client), [message('kept')])
      await client.query('COMMIT')
      await client.query('BEGIN')
      await t.outbox.addEncoded(pgTransaction(client), [message('gone')])
      await client.query('ROLLBACK')
      client.release()
      await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
      expect(t.publisher.ids).toEqual(['kept'])
    })
  })

  test('NOTIFY wakes a relay that would poll much later, and again after its connection was lost', async () => {
    await using t = await setupOutboxOn(database.sql)
    const connect = (): pg.Client =>
      new pg.Client({ connectionString: database.url, application_name: 'outbox_listen' })
    const listener = pgListener({ connect })
    await t.relay({ listener, idlePollMs: 60_000 }).start()
    const backends = async (): Promise<number[]> =>
      (
        await t.sql.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity WHERE application_name = 'outbox_listen' AND query ~ '^(LISTEN|SELECT pg_backend_pid)'`,
        )
      ).rows.map((row) => row.pid)
    const other = createOutbox({
      sql: t.sql,
      service: 'orders',
      schema: t.outbox.schema,
      partitions: 2,
      notifyEveryMs: 5,
    })
    const add = (id: string): Promise<void> => t.sql.transaction((tx) => other.addEncoded(tx, [message(id)]))
    await until(async () => (await backends()).length === 1, 'listening')
    await add('first')
    await until(() => t.publisher.ids.includes('first'), 'woken', 5_000)
    const [pid] = await backends()
    await t.sql.query('SELECT pg_terminate_backend($1)', [pid])
    await until(async () => (await backends()).some((it) => it !== pid), 'listening again')
    await add('second')
    await until(() => t.publisher.ids.includes('second'), 'woken again', 5_000)
    await listener.close()
  })
})
