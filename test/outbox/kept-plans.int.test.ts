// oxlint-disable no-restricted-imports -- inside of the outbox: what the statements of a relay read
import { systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import { LeaseKeeper } from '../../outbox/lease.ts'
import { PartitionQueries } from '../../outbox/partition-queries.ts'
import type { WindowRow } from '../../outbox/publish-window.ts'
import { ScanStart } from '../../outbox/scan-start.ts'
import { outboxTables } from '../../outbox/tables.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'
import { describeWith } from '../support/servers/index.ts'
import { message } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { setupOutboxOn } from './support/setup.ts'

const MANY = 20_000
const WINDOW = 200

describeWith(['postgres'], 'a relay whose plans were made when the outbox was nearly empty', () => {
  let database: TestDatabase
  let pool: pg.Pool
  beforeAll(async () => {
    database = await createDatabase()
    // A single session keeps its plans.
    pool = new pg.Pool({ connectionString: database.url, max: 1 })
  })
  afterAll(async () => {
    await pool.end()
    await database.drop()
  })

  /** A partition under a lease, and how many index entries a statement reads of it. */
  async function leasedPartition() {
    const sql = pgClient(pool)
    const t = await setupOutboxOn(sql, { partitions: 1 })
    const tables = outboxTables(t.outbox.schema)
    const keeper = new LeaseKeeper({
      sql,
      tables,
      instance: 'relay',
      leaseMs: 60_000,
      longestPauseMs: 60_000,
      clock: systemClock,
    })
    await keeper.claim(1)
    const [lease] = keeper.held
    const table = new PartitionQueries(
      sql,
      tables,
      lease as NonNullable<typeof lease>,
      new UnansweredCalls(systemClock),
    )
    const read = async (): Promise<number> => {
      await sql.query('SELECT pg_stat_force_next_flush()')
      const { rows } = await sql.query<{ n: number }>(
        `SELECT sum(idx_tup_read)::int AS n FROM pg_stat_user_indexes WHERE schemaname = $1 AND relname = 'outbox'`,
        [t.outbox.schema],
      )
      return rows[0]?.n ?? 0
    }
    const reads = async (work: () => Promise<unknown>): Promise<number> => {
      const before = await read()
      await work()
      return (await read()) - before
    }
    const copy = (id: string): Promise<unknown> =>
      sql.query(
        `INSERT INTO ${tables.outbox} (partition, id, aggregatetype, aggregateid, type, source, content_type, time)
         SELECT partition, id || n, aggregatetype, 'k' || n, type, source, content_type, time
         FROM ${tables.outbox}, generate_series(1, ${MANY}) n WHERE id = $1`,
        [id],
      )
    return { ...t, sql, tables, table, reads, copy }
  }

  test('reads only the rows that it settles, not all of the partition', async () => {
    await using t = await leasedPartition()
    const { sql, table, reads } = t
    const holdsOf = (rows: readonly WindowRow[]) =>
      rows.map(({ seq, message: { id } }) => ({ seq, id, strikes: 1, delayMs: 60_000, error: 'refused' }))

    await sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'a'), message('b', 'b'), message('c', 'c')]))
    const [first, second] = (await table.fetch(10, 1_000_000, [])).rows
    expect(await table.confirm([first as NonNullable<typeof first>])).toBe(true)
    expect(await table.hold(holdsOf([second as NonNullable<typeof second>]))).toBe(true)
    await t.copy('c')
    let rows: Awaited<ReturnType<typeof table.fetch>>['rows'] = []
    expect(await reads(async () => void ({ rows } = await table.fetch(2 * WINDOW, 10_000_000, [])))).toBeLessThan(
      MANY / 4,
    )
    expect(rows).toHaveLength(2 * WINDOW)
    expect(await reads(() => table.confirm(rows.slice(0, WINDOW)))).toBeLessThan(MANY / 4)
    expect(await reads(() => table.hold(holdsOf(rows.slice(WINDOW))))).toBeLessThan(MANY / 4)
  })

  test('reads the backlog of an unavailable destination twice, not for each window', async () => {
    await using t = await leasedPartition()
    const { sql, table, reads } = t
    const clock = new FakeClock()
    const start = new ScanStart(clock, (scan) => table.pass(scan))
    const window = async (away: readonly string[]): Promise<readonly string[]> => {
      const { rows } = await table.fetch(10, 1_000_000, [], await start.find(away))
      return rows.map(({ message: { id } }) => id)
    }
    await sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'k', { destination: 'away' })]))
    await t.copy('a')
    await sql.transaction((tx) => t.outbox.addEncoded(tx, [message('h', 'k', { destination: 'here' })]))
    for (let pass = 0; pass < 2; pass++) {
      expect(await window(['away'])).toEqual(['h'])
      await clock.advance(1_000)
    }
    expect(await reads(() => window(['away']))).toBeLessThan(MANY / 4)
    expect(await reads(() => window(['away', 'too']))).toBeLessThan(MANY / 4)
    expect((await window([])).slice(0, 2)).toEqual(['a', 'a1'])
    expect((await window(['too'])).slice(0, 2)).toEqual(['a', 'a1'])
  })
})
