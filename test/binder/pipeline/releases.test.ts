/** Upgrade with an open window while the new release has another limit for windows. */
import { PGlite } from '@electric-sql/pglite'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'
import { sold, type Total, totalling, totals } from './support/world.ts'

let database: PGlite
let sql: SqlClient
beforeAll(async () => {
  database = freshPglite()
  await database.waitReady
  sql = pgliteClient(database)
}, 180_000)
afterAll(() => database.close(), 60_000)

const TIMERS = 'totals.window.timers.totals'
const HOUR = 3_600_000

/** Releases of one service, one after the other, on one broker. */
function releasesOf(schema: string) {
  const broker = memoryBroker()
  const got: Total[] = []
  const read = sink(totals, { group: 'test' }, (total) => void got.push(total))
  const rows = () =>
    sql.query<{ key: string; count: number; closes: boolean }>(
      `SELECT key, count::int, isfinite(ends_at) AS closes FROM ${schema}.pipeline_window ORDER BY id`,
    )
  return {
    broker,
    got,
    open: async () => (await rows()).rows,
    release: async (limits: Parameters<typeof totalling>[1], client = sql) => {
      const bindings = [...totalling(undefined, limits).bindings, read]
      const transport = memoryTransport({ broker })
      const shop = createService({ name: 'shop', sql: client, schema, bindings, sends: [sold], transport })
      await shop.start()
      await shop.ready()
      return {
        shop,
        sell: async (...cents: number[]) => {
          const before = shop.binder.binding('sold.totals').status().handled
          for (const some of cents) await shop.transaction((tx) => tx.send(sold, { sku: 'fig', cents: some }))
          await until('they are handled', () => {
            return shop.binder.binding('sold.totals').status().handled === before + cents.length
          })
        },
        [Symbol.asyncDispose]: () => shop.close(),
      }
    },
  }
}

test('windows that closed by number alone are closed when the next release closes by time', async () => {
  const { release, got, open } = releasesOf('numbered')
  {
    await using first = await release({ count: 3 })
    await first.sell(1, 2)
  }
  expect(await open()).toEqual([{ key: 'fig', count: 2, closes: false }])
  await using next = await release({ count: 3, everyMs: HOUR })
  await until('what was open comes out', () => got.length === 1)
  expect(got[0]).toMatchObject({ sku: 'fig', count: 2, cents: 3 })
  expect(got[0]?.endsAt).toBeGreaterThanOrEqual(got[0]?.startsAt as number)
  await next.sell(4)
  expect(await open()).toEqual([{ key: 'fig', count: 1, closes: true }])
})

test('a window that an instance of the release before opens is closed with the next window of its key', async () => {
  const { release, got, open } = releasesOf('meanwhile')
  await using next = await release({ everyMs: HOUR })
  await sql.query(
    `INSERT INTO meanwhile.pipeline_window (pipeline, name, key, starts_at, ends_at, opened_at, count, state)
     VALUES ('totals', 'window', 'fig', '-infinity', 'infinity', now(), 2, '5')`,
  )
  await next.sell(1)
  await until('it comes out', () => got.length === 1)
  expect(got[0]).toMatchObject({ sku: 'fig', count: 2, cents: 5 })
  expect(await open()).toEqual([{ key: 'fig', count: 1, closes: true }])
})

test('windows that closed by time are filled up when the next release closes by number alone', async () => {
  const { release, got, open } = releasesOf('timed')
  {
    await using first = await release({ everyMs: HOUR })
    await first.sell(1, 2)
  }
  await sql.query(
    `INSERT INTO timed.pipeline_window (pipeline, name, key, starts_at, ends_at, opened_at, count, state)
     SELECT pipeline, name, key, starts_at + interval '1 h', ends_at + interval '1 h', opened_at + interval '1 h', 1, '10'
     FROM timed.pipeline_window`,
  )
  await using next = await release({ count: 3 })
  await next.sell(4)
  await next.sell(20, 30)
  await until('both are full', () => got.length === 2)
  expect(got.map(({ count, cents }) => [count, cents])).toEqual([
    [3, 7],
    [3, 60],
  ])
  expect(await open()).toEqual([])
})

const LOST = `INSERT INTO %.pipeline_window (pipeline, name, key, starts_at, ends_at, opened_at, count, state)
  SELECT 'totals', 'window', 'k' || n, now() - interval '2 h', now() - interval '1 h', now() - interval '2 h', 1, '1'
  FROM generate_series(1, $1) AS n`

/** Interval on the database's clock in which a lost timer is requested once. */
const TURN_MS = 10_000

test('a start sends one message for any number of lost timers, and all windows are closed', {
  timeout: 120_000,
}, async () => {
  const { release, got, open } = releasesOf('many')
  {
    await using _ = await release({ everyMs: HOUR })
  }
  await sql.query(LOST.replace('%', 'many'), [1_050])
  const turn = (): number => Math.floor(Date.now() / TURN_MS)
  const began = turn()
  await using next = await release({ everyMs: HOUR })
  // Subscribing again repeats the check; a loss found a moment ago is not sent again.
  for (let n = 0; n < 3; n++) {
    await next.shop.binder.binding(TIMERS).stop()
    await next.shop.binder.binding(TIMERS).start()
  }
  await until('all are closed', async () => (await open()).length === 0, 100_000)
  await until('all came out', () => got.length === 1_050)
  const turns = turn() - began + 1
  expect(next.shop.binder.binding(TIMERS).status().handled).toBeLessThan(turns * 1_100)
})

/** The same database a while later: statements outside of transactions read a clock that is ahead by this. */
function later(durationMs: number): SqlClient {
  const query: SqlClient['query'] = (text, parameters) =>
    sql.query(text.replaceAll('clock_timestamp()', `(clock_timestamp() + ${durationMs} * interval '1 ms')`), parameters)
  return new Proxy(sql, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name, target)) })
}

test('a start sends lost timers again although an earlier start did so for other windows', async () => {
  const { release, got, open } = releasesOf('again')
  {
    await using _ = await release({ everyMs: HOUR })
  }
  for (const [n, client] of [sql, later(TURN_MS)].entries()) {
    await sql.query(LOST.replace('%', 'again'), [1])
    await using _ = await release({ everyMs: HOUR }, client)
    await until(`start ${n} has the window closed`, async () => (await open()).length === 0)
    await until(`start ${n} has handed it on`, () => got.length === n + 1)
  }
})

test('a timer of a stranger closes no window of another', async () => {
  const { release, broker, open } = releasesOf('strange')
  await using own = await release({ everyMs: HOUR })
  await sql.query(
    `INSERT INTO strange.pipeline_window (pipeline, name, key, starts_at, ends_at, opened_at, count, state)
     VALUES ('other', 'window', 'fig', now() - interval '2 h', now() - interval '1 h', now(), 1, '1'),
            ('totals', 'window', 'fig', now() - interval '2 h', now() - interval '1 h', now(), 1, '1')`,
  )
  const { rows } = await sql.query<{ id: string; pipeline: string }>(
    'SELECT id::text, pipeline FROM strange.pipeline_window ORDER BY id',
  )
  const [other, totalsOwn] = rows.map(({ id }) => id)
  const channel = defineChannel('totals.window.timers', { payload: z.looseObject({}), groups: ['totals'] })
  await using stranger = createBinder({ service: 'stranger', transport: memoryTransport({ broker }), sends: [channel] })
  await stranger.start()
  const ours = { pipeline: 'totals', window: 'window' }
  await stranger.send(channel, { ...ours, id: other, key: 'fig' }) // a window of another pipeline
  await stranger.send(channel, { ...ours, id: totalsOwn, key: 'apple' }) // of another key, whose lock is not held
  await stranger.send(channel, { pipeline: 'other', window: 'window', id: totalsOwn, key: 'fig' }) // not for this pipeline
  await until('all are handled', () => own.shop.binder.binding(TIMERS).status().handled === 3)
  expect(await open()).toHaveLength(2)
})
