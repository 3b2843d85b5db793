import { type Binder, type BinderOptions, createBinder, defineChannel, sink } from 'concordat/binder'
import type { Clock, SqlClient } from 'concordat/core'
import { systemClock } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { PostgresTransportOptions } from '../../support/inside/binder.ts'
import { gate, until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number() })

function setup() {
  const schema = `hazard${++count}`
  const numbers = defineChannel('numbers', { payload: Payload, key: () => 'k', partitions: 1, groups: ['g'] })
  const started = async (
    more: Partial<BinderOptions> = {},
    options: Partial<PostgresTransportOptions> = {},
  ): Promise<Binder> => {
    const transport = postgresTransport({ sql, schema, ...options })
    const binder = createBinder({ service: 'test', transport, sends: [numbers], ...more })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    return binder
  }
  const table = async <Row extends object>(text: string): Promise<readonly Row[]> =>
    (await sql.query<Row>(text.replaceAll('{schema}', `"${schema}"`))).rows
  return { schema, numbers, started, table }
}

describe('the place of a group', () => {
  it('is freed of old versions by every member that takes it, however short it holds it', async () => {
    const t = setup()
    const bindings = [sink(t.numbers, { group: 'g' }, () => {})]
    await (await t.started({ bindings })).close()
    const own = `grp = (SELECT id FROM {schema}.transport_group WHERE destination = 'numbers' AND name = 'g')`
    await t.table(
      `INSERT INTO {schema}.transport_progress
       SELECT b.grp, b.part, b.ver + v, b.epoch, NULL, b.settled, b.handed, b.done FROM generate_series(1, 900) v, (
         SELECT * FROM {schema}.transport_progress WHERE ${own} ORDER BY ver DESC LIMIT 1) b`,
    )
    await t.started({ bindings })
    await until('few are left', async () => {
      const [row] = await t.table<{ n: number }>(
        `SELECT count(*)::int AS n FROM {schema}.transport_progress WHERE ${own}`,
      )
      return Number(row?.n) < 150
    })
  })
})

describe('the ring', () => {
  it('keeps the log without a hole when a late commit is between younger segments: a new group reads it all', async () => {
    const t = setup()
    const got: number[] = []
    const binder = await t.started({ bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))] })
    const turn = (): Promise<unknown> => t.table('SELECT {schema}.transport_rotate(1, 0, 0)')
    await binder.send(t.numbers, { n: 0 })
    await turn()
    await binder.send(t.numbers, { n: 1 })
    await until('two are handled', () => got.length === 2)
    // This transaction began to write before the ring turned, and commits now.
    await t.table(
      `INSERT INTO {schema}.transport_log (segment, part, key, meta, body)
       SELECT 0, p.id, 'k', '["late","numbers","s","application/json",0]', '{"n":2}' FROM {schema}.transport_partition p
       WHERE p.destination = 'numbers'`,
    )
    await until('the late one is handled', () => got.length === 3)
    await binder.send(t.numbers, { n: 3 })
    await until('all are handled', () => got.length === 4)
    await until('all is settled', async () => (await binder.lag('numbers.g')) === 0)
    expect(await t.table('SELECT {schema}.transport_clear(0::smallint, 50000) AS cleared')).toEqual([{ cleared: true }])
    const late: number[] = []
    const second = await t.started({ bindings: [sink(t.numbers, { group: 'new' }, ({ n }) => void late.push(n))] })
    await until('the new group has the newest', () => late.includes(3))
    expect(late).toEqual([1, 2, 3])
    await until('it has settled them', async () => (await second.lag('numbers.new')) === 0)
  })

  it('keeps a message that commits into a segment between its clearing and its truncation', async () => {
    const t = setup()
    const got: number[] = []
    const bindings = [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = await t.started({ bindings })
    await binder.send(t.numbers, { n: 0 })
    await until('it is settled', async () => got.length === 1 && (await binder.lag('numbers.g')) === 0)
    // No reader gives positions meanwhile.
    await binder.close()
    await t.table('SELECT {schema}.transport_rotate(1, 0, 0)')
    expect(await t.table('SELECT {schema}.transport_clear(0::smallint, 50000) AS cleared')).toEqual([{ cleared: true }])
    // This transaction began to write before the ring turned, and commits now.
    await t.table(
      `INSERT INTO {schema}.transport_log (segment, part, key, meta, body)
       SELECT 0, p.id, 'k', '["late","numbers","s","application/json",0]', '{"n":1}' FROM {schema}.transport_partition p
       WHERE p.destination = 'numbers'`,
    )
    expect(await t.table('SELECT {schema}.transport_truncate(0::smallint) AS freed')).toEqual([{ freed: false }])
    await t.started({ bindings })
    await until('the late one is handled', () => got.length === 2)
    expect(got).toEqual([0, 1])
  })

  const orphans = `SELECT s.segment FROM {schema}.transport_segment s, {schema}.transport_ring r
    WHERE NOT s.is_empty AND s.closed_at IS NULL AND s.segment <> r.current`

  it('keeps every segment when another process turns it just before our lock', async () => {
    const t = setup()
    const binder = await t.started()
    await binder.send(t.numbers, { n: 0 })
    await binder.close()
    // Commits what the other process does between the snapshot of a statement and the lock that it takes.
    await t.table(
      `CREATE FUNCTION {schema}.pg_try_advisory_xact_lock(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
         UPDATE {schema}.transport_segment SET closed_at = clock_timestamp() WHERE segment = 0;
         UPDATE {schema}.transport_segment SET is_empty = false WHERE segment = 1;
         UPDATE {schema}.transport_ring SET current = 1, since = clock_timestamp();
         INSERT INTO {schema}.transport_log (segment, part, meta) SELECT 1, min(id), '[]' FROM {schema}.transport_partition;
         RETURN true; END $$`,
    )
    await t.table('SET search_path = {schema}, pg_catalog')
    onTestFinished(async () => void (await t.table('RESET search_path')))
    await t.table('SELECT {schema}.transport_rotate(1, 0, 0)')
    expect(await t.table('SELECT current FROM {schema}.transport_ring')).toEqual([{ current: 2 }])
    expect(await t.table(orphans)).toEqual([])
  })

  it('takes back a segment that had fallen out of it', async () => {
    const t = setup()
    await t.started()
    await t.table('UPDATE {schema}.transport_segment SET is_empty = false WHERE segment = 2')
    expect(await t.table(orphans)).toEqual([{ segment: 2 }])
    await t.table('SELECT {schema}.transport_rotate(1, 0, 0)')
    expect(await t.table(orphans)).toEqual([])
  })

  it('never lets a reader pass a message that it could not read', async () => {
    const t = setup()
    const sender = await t.started()
    for (let n = 0; n < 5; n++) await sender.send(t.numbers, { n })
    await t.table('SELECT {schema}.transport_ends($$numbers$$)')
    // Shows the table to a reader whose snapshot is older than the truncation of a segment.
    await t.table('CREATE TABLE {schema}.hidden AS SELECT * FROM {schema}.transport_log ORDER BY seq OFFSET 2 LIMIT 1')
    await t.table('DELETE FROM {schema}.transport_log l USING {schema}.hidden h WHERE l.seq = h.seq')
    const got: number[] = []
    await t.started({ bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))] })
    await until('it has looked', async () => {
      const [row] = await t.table<{ n: number }>('SELECT max(ver)::int AS n FROM {schema}.transport_progress')
      return (row?.n ?? 0) >= 2
    })
    expect(got).not.toContain(3)
    await t.table('INSERT INTO {schema}.transport_log SELECT * FROM {schema}.hidden')
    await until('all came', () => got.length >= 5, 20_000)
    expect(got.toSorted((a, b) => a - b).filter((n, i, all) => n !== all[i - 1])).toEqual([0, 1, 2, 3, 4])
    expect(got.slice(-3)).toEqual([2, 3, 4])
  }, 60_000)
})

describe('a member', () => {
  it('a member that stops while it takes a partition leaves it to others, though its process lives', async () => {
    const t = setup()
    const held = gate()
    const reached = gate()
    let isHolding = false
    const slow: SqlClient = {
      ...sql,
      query: async (text, parameters) => {
        if (isHolding && text.includes('transport_claim')) {
          reached.open()
          await held.opened
        }
        return sql.query(text, parameters)
      },
    }
    const handled: string[] = []
    const first = await t.started(
      { bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void handled.push(`first ${n}`))] },
      { sql: slow },
    )
    await first.send(t.numbers, { n: 0 })
    await until('the first has it', () => handled.length === 1)
    isHolding = true
    await t.table(`UPDATE {schema}.transport_session SET live_until = '-infinity'`)
    const group = `(SELECT id FROM {schema}.transport_group WHERE name = 'g')`
    await t.table(`SELECT {schema}.transport_claim(${group}, 'somebody', '{}', 1)`)
    await first.send(t.numbers, { n: 1 })
    await reached.opened
    const stopped = first.binding('numbers.g').stop()
    held.open()
    await stopped
    isHolding = false
    await t.started({ bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void handled.push(`second ${n}`))] })
    await until('the second has the next one', () => handled.includes('second 1'), 8_000)
  }, 30_000)

  it('a member that stops settles handled messages permanently while others claim partitions', async () => {
    const t = setup()
    const held = gate()
    const stuck = gate()
    let renewals = 0
    let isHolding = false
    const slow: SqlClient = {
      ...sql,
      query: async (text, parameters) => {
        if (isHolding && text.includes('transport_give')) await held.opened
        const result = await sql.query(text, parameters)
        if (text.includes('INSERT') && text.includes('transport_session')) renewals++
        return result as never
      },
      exclusive: undefined,
    }
    const handled: string[] = []
    const other = defineChannel('other', { payload: Payload, groups: ['g'] })
    const first = await t.started(
      {
        bindings: [
          sink(t.numbers, { group: 'g' }, async ({ n }) => {
            handled.push(`first ${n}`)
            await stuck.opened
          }),
          sink(other, { group: 'g' }, () => {}),
        ],
      },
      { sql: slow, commitIntervalMs: 60_000 },
    )
    await first.send(t.numbers, { n: 0 })
    await until('the first has it', () => handled.length === 1)
    const past = renewals
    await until('it has nothing more to fetch', () => renewals >= past + 2)
    stuck.open()
    isHolding = true
    const stopped = first.binding('numbers.g').stop()
    const before = renewals
    await until('it has looked for partitions', () => renewals >= before + 3)
    held.open()
    await stopped
    isHolding = false
    await t.started({ bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void handled.push(`second ${n}`))] })
    await first.send(t.numbers, { n: 1 })
    await until('the second has the next one', () => handled.includes('second 1'))
    expect(handled).toEqual(['first 0', 'second 1'])
  }, 30_000)

  it('that was frozen for longer than its lease begins no message fetched before', async () => {
    const t = setup()
    let jumpMs = 0
    const clock: Clock = {
      ...systemClock,
      now: () => systemClock.now() + jumpMs,
      monotonic: () => systemClock.monotonic() + jumpMs,
    }
    const stuck = gate()
    const handled: string[] = []
    const binding = sink(t.numbers, { group: 'g', concurrency: 1 }, async ({ n }) => {
      handled.push(`first ${n}`)
      if (n === 0) await stuck.opened
    })
    const frozen = gate()
    let isFrozen = false
    const slow: SqlClient = {
      ...sql,
      query: async (text, parameters) => {
        if (isFrozen && text.includes('transport_session')) await frozen.opened
        return sql.query(text, parameters)
      },
    }
    const first = await t.started({ bindings: [binding], clock }, { sql: slow, commitIntervalMs: 60_000 })
    for (let n = 0; n < 3; n++) await first.send(t.numbers, { n })
    await until('the first has one', () => handled.length === 1)
    isFrozen = true
    jumpMs = 20_000
    await t.table(`UPDATE {schema}.transport_session SET live_until = '-infinity'`)
    await t.started({
      bindings: [sink(t.numbers, { group: 'g' }, ({ n }) => void handled.push(`second ${n}`))],
    })
    await until('another has its work', () => handled.includes('second 2'), 15_000)
    stuck.open()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(handled.filter((each) => each.startsWith('first'))).toEqual(['first 0'])
    frozen.open()
  }, 30_000)

  // A failover to a standby without its claim, where another member has taken the same position since.
  it.each([['by what it handles'], ['when it closes']])(
    'settles nothing, %s, in a position that another one has under the same numbers',
    async (how) => {
      const t = setup()
      const held = gate()
      const handled: number[] = []
      let refused = 0
      const watched: SqlClient = {
        ...sql,
        query: async (text, parameters) => {
          const answer = sql.query<never>(text, parameters)
          answer.catch((error: { code?: string }) => (refused += error.code === 'CN001' ? 1 : 0))
          return answer
        },
      }
      const binding = sink(t.numbers, { group: 'g' }, async ({ n }) => {
        handled.push(n)
        if (n === 1) await held.opened
      })
      const first = await t.started({ bindings: [binding] }, { sql: watched })
      await first.send(t.numbers, { n: 0 })
      await until('one is settled', async () => (await first.lag('numbers.g')) === 0)
      await first.send(t.numbers, { n: 1 })
      await until('another is handled', () => handled.length === 2)
      await t.table(
        `INSERT INTO {schema}.transport_session (owner, live_until, lease_ms) VALUES ('another', now() + interval '1 h', 3600000)`,
      )
      await t.table(
        `UPDATE {schema}.transport_progress p SET owner = 'another'
         WHERE owner IS NOT NULL AND ver = (SELECT max(ver) FROM {schema}.transport_progress)`,
      )
      const place = async () =>
        (
          await t.table(
            'SELECT owner, settled::int AS settled FROM {schema}.transport_progress ORDER BY ver DESC LIMIT 1',
          )
        )[0]
      const before = await place()
      held.open()
      if (how === 'when it closes') await first.close()
      else await until('its place is refused', () => refused > 0)
      expect(await place()).toEqual(before)
      expect(before).toMatchObject({ owner: 'another', settled: 1 })
    },
    60_000,
  )
})
