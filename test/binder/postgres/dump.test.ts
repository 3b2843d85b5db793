import { type Binder, type BinderOptions, createBinder, defineChannel, sink } from 'concordat/binder'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { PostgresTransportOptions } from '../../support/inside/binder.ts'
import { until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const FAR = 1_000_000

/** A log of ten messages that group `g` has settled, and of ten that it has not. */
async function setup() {
  const schema = `dump${++count}`
  const numbers = defineChannel('numbers', {
    payload: z.object({ n: z.number() }),
    key: ({ n }) => String(n % 3),
    partitions: 2,
    groups: ['g'],
  })
  const got: number[] = []
  const handled = sink(numbers, { group: 'g' }, ({ n }) => void got.push(n))
  const made = (
    bindings: BinderOptions['bindings'] = [handled],
    provision?: PostgresTransportOptions['provision'],
  ): Binder => {
    const transport = postgresTransport({ sql, schema, provision })
    const binder = createBinder({ service: 'test', transport, sends: [numbers], bindings })
    onTestFinished(() => binder.close())
    return binder
  }
  const started = async (bindings?: BinderOptions['bindings']): Promise<Binder> => {
    const binder = made(bindings)
    await binder.start()
    await binder.ready()
    return binder
  }
  const table = (text: string) => sql.query(text.replaceAll('{schema}', `"${schema}"`))
  const repaired = () => postgresTransport({ sql, schema }).repair()
  const moved = async (): Promise<void> => {
    await table(`UPDATE {schema}.transport_log SET xid = ${future('xid')}`)
    await table(
      `UPDATE {schema}.transport_tick SET
         xids = ARRAY(SELECT ${future('x')} FROM unnest(xids) WITH ORDINALITY u(x, n) ORDER BY n),
         snap = (pg_snapshot_xmin(snap)::text::bigint + ${FAR} || ':' || pg_snapshot_xmax(snap)::text::bigint + ${FAR} || ':')::pg_snapshot`,
    )
  }

  const first = await started()
  for (let n = 0; n < 10; n++) await first.send(numbers, { n })
  await until('ten are handled and settled', async () => got.length === 10 && (await first.lag('numbers.g')) === 0)
  first.binding('numbers.g').pause()
  for (let n = 10; n < 20; n++) await first.send(numbers, { n })
  await first.close()
  return { numbers, got, handled, made, started, table, repaired, moved }
}

const future = (xid: string) => `(${xid}::text::bigint + ${FAR})::text::xid8`

describe('a dump of another cluster', () => {
  it('is repaired in a database that publishes all of its tables', async () => {
    const t = await setup()
    await sql.query('CREATE PUBLICATION everything FOR ALL TABLES')
    onTestFinished(async () => void (await sql.query('DROP PUBLICATION everything')))
    await t.table(`UPDATE {schema}.transport_tick SET n = n`)
    expect(await t.repaired()).toEqual({ missing: 0 })
  })

  it('is recognised and refused; repair loses nothing, and orders messages without a position as before', async () => {
    const t = await setup()
    await t.moved()
    for (const provision of ['create', 'check', 'none'] as const) {
      const refused = t.made([t.handled], provision)
      await expect(refused.start()).rejects.toMatchObject({
        kind: 'mismatch',
        message: /a dump was restored.*repair\(\)/,
      })
      await refused.close()
    }
    expect(await t.repaired()).toEqual({ missing: 0 })
    const again = await t.started()
    await again.send(t.numbers, { n: 20 })
    await until('the rest is handled', () => [...Array(21).keys()].every((n) => t.got.includes(n)))
    for (const key of [0, 1, 2]) {
      const line = t.got.filter((n) => n % 3 === key && n >= 10)
      expect(line).toEqual(line.toSorted((a, b) => a - b))
    }
    expect(t.got.filter((n) => n >= 10)).toHaveLength(11)
  })

  it('keeps what a process that was left running has sent to it since: repair delivers that, and nothing settled again', async () => {
    const t = await setup()
    const running = await t.started([])
    await t.table(`SELECT {schema}.transport_ends('numbers')`)
    // Settled messages whose segment was closed: they lie there until it is truncated.
    await t.table(`DELETE FROM {schema}.transport_tick WHERE seqs <> '{}' AND seqs[cardinality(seqs)] <= 10`)
    await t.moved()
    for (let n = 20; n < 26; n++) await running.send(t.numbers, { n })
    expect((await t.table('SELECT {schema}.transport_rotate(1, 0, 0)')).rows).toEqual([])
    await running.close()
    expect(await t.repaired()).toEqual({ missing: 0 })
    await t.started()
    await until('the rest is handled', () => [...Array(26).keys()].every((n) => t.got.includes(n)))
    expect(t.got).toHaveLength(26)
    for (const key of [0, 1, 2]) {
      const line = t.got.filter((n) => n % 3 === key && n >= 10)
      expect(line).toEqual(line.toSorted((a, b) => a - b))
    }
  })

  it.for([undefined, 'none'] as const)(
    'is refused by a process that runs when it takes the place of the log: %s',
    async (provision) => {
      const t = await setup()
      const running = t.made([], provision)
      await running.start()
      await running.send(t.numbers, { n: 20 })
      await t.moved()
      await t.table('ALTER TABLE {schema}.transport_ring RENAME TO former')
      await t.table('CREATE TABLE {schema}.transport_ring (LIKE {schema}.former INCLUDING ALL)')
      await t.table('INSERT INTO {schema}.transport_ring SELECT * FROM {schema}.former')
      await expect(running.send(t.numbers, { n: 21 })).rejects.toMatchObject({ cause: { kind: 'unavailable' } })
      const refused = { cause: { kind: 'mismatch', message: /a dump was restored/ } }
      await expect(running.send(t.numbers, { n: 21 })).rejects.toMatchObject(refused)
      expect(await t.repaired()).toEqual({ missing: 0 })
      await running.send(t.numbers, { n: 21 })
    },
  )

  it('is recognised by its messages alone when the last ones were not read', async () => {
    const t = await setup()
    await t.table(`UPDATE {schema}.transport_log SET xid = ${future('xid')} WHERE seq > 10`)
    const refused = t.made()
    await expect(refused.start()).rejects.toMatchObject({ kind: 'mismatch', message: /a dump was restored/ })
    await refused.close()
    expect(await t.repaired()).toEqual({ missing: 0 })
    await t.started()
    await until('the rest is handled', () => [...Array(20).keys()].every((n) => t.got.includes(n)))
  })
})

describe('a dump without the messages', () => {
  it('is read by a group that was behind, and by a new one, after a repair that reports the number of missing messages', async () => {
    const t = await setup()
    // Each has a position.
    await t.table(`SELECT {schema}.transport_ends('numbers')`)
    await t.table('TRUNCATE {schema}.transport_log')
    expect(await t.repaired()).toEqual({ missing: 10 })
    const late: number[] = []
    const again = await t.started([t.handled, sink(t.numbers, { group: 'new' }, ({ n }) => void late.push(n))])
    for (let n = 20; n < 26; n++) await again.send(t.numbers, { n })
    await until('both have what comes now', () => t.got.length === 16 && late.length === 6)
    expect(await again.lag('numbers.g')).toBeLessThanOrEqual(6)
    expect(await t.repaired().catch((error: unknown) => error)).toEqual({ missing: 0 })
  })

  it('is refused with the remedy, and repair keeps every stored message', async () => {
    const t = await setup()
    await t.table(`SELECT {schema}.transport_ends('numbers')`)
    await t.table('DELETE FROM {schema}.transport_log WHERE seq = 12')
    const stuck = t.made()
    await stuck.start()
    await until('it says so', () => /repair\(\)/.test(JSON.stringify(stuck.health())))
    await stuck.close()
    expect(await t.repaired()).toEqual({ missing: 1 })
    await t.started()
    const left = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    await until('all but one are handled', () => left.filter((n) => t.got.includes(n)).length === 9)
  })
})
