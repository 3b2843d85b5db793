import { defineChannel, redrive, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { onPglite, starterOn } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number() })
const MODES = ['create', 'check', 'none'] as const

function setup() {
  const schema = `modes${++count}`
  const numbers = (partitions: number) =>
    defineChannel('numbers', { payload: Payload, key: ({ n }) => `k${n}`, partitions, groups: ['g'] })
  const started = starterOn(sql, schema)
  const value = async (text: string): Promise<unknown> =>
    (await sql.query<{ value: unknown }>(text.replaceAll('{schema}', schema))).rows[0]?.value
  return { schema, numbers, started, value }
}

describe('the log', () => {
  it.for(MODES)('is freed by its readers with every provisioning: %s', async (provision) => {
    const t = setup()
    const numbers = t.numbers(2)
    const bindings = [sink(numbers, { group: 'g' }, () => {})]
    await (await t.started({ bindings, sends: [numbers] })).close()
    const binder = await t.started({ bindings, sends: [numbers] }, { provision, segmentMs: 1, retentionMs: 0 })
    for (let n = 0; n < 30; n++) await binder.send(numbers, { n })
    await until('the ring has turned, and what lay in it is gone', async () => {
      await binder.send(numbers, { n: 0 })
      const isTurned = (await t.value('SELECT current > 0 AS value FROM {schema}.transport_ring')) === true
      return isTurned && Number(await t.value('SELECT count(*)::int AS value FROM {schema}.transport_log')) < 15
    })
  })

  it('is not freed by an operator, who may have other times than the services', async () => {
    const t = setup()
    const numbers = t.numbers(1)
    const failing = await t.started({
      bindings: [
        sink(numbers, { group: 'g', maxAttempts: 1 }, () => {
          throw new Error('no (made by the test)')
        }),
      ],
      sends: [numbers],
    })
    await failing.sendBatch(
      numbers,
      Array.from({ length: 50 }, (_, n) => ({ n })),
    )
    await until('all are dead letters', async () => (await failing.deadLetters('numbers.g')) === 50)
    await failing.close()
    const transport = postgresTransport({ sql, schema: t.schema, provision: 'check', segmentMs: 1, retentionMs: 0 })
    const report = await redrive({ service: 'ops', transport, logger: silentLogger }, numbers, 'g', { perSecond: 100 })
    expect(report.sent).toBe(50)
    expect(await t.value('SELECT current::int AS value FROM {schema}.transport_ring')).toBe(0)
  })
})

describe('a consumer that declares a wrong number of partitions', () => {
  it.for([1, 2, 7])('reads all partitions without checking them (none), with %i declared', async (declared) => {
    const t = setup()
    const sender = await t.started({ sends: [t.numbers(4)] })
    const got: number[] = []
    const bindings = [sink(t.numbers(declared), { group: 'g', onFailure: 'drop' }, ({ n }) => void got.push(n))]
    const reader = await t.started({ bindings }, { provision: 'none' })
    for (let n = 0; n < 40; n++) await sender.send(t.numbers(4), { n })
    await until('all came', () => got.length === 40)
    await until('all is settled', async () => (await reader.lag('numbers.g')) === 0)
  })

  it('shares them with the other members of its group as they are', async () => {
    const t = setup()
    const sender = await t.started({ sends: [t.numbers(4)] })
    const got: Array<readonly [who: number, n: number]> = []
    const member = (who: number) => [
      sink(t.numbers(2), { group: 'g', onFailure: 'drop' }, ({ n }) => void got.push([who, n])),
    ]
    for (const who of [0, 1]) await t.started({ bindings: member(who) }, { provision: 'none' })
    await until('each has two', async () => {
      const held = await t.value(
        `SELECT string_agg(n::text, ',' ORDER BY n) AS value FROM (
           SELECT count(*) AS n FROM (SELECT DISTINCT ON (part) owner FROM {schema}.transport_progress ORDER BY part, ver DESC) x
           WHERE owner IS NOT NULL GROUP BY owner) y`,
      )
      return held === '2,2'
    })
    for (let n = 0; n < 40; n++) await sender.send(t.numbers(4), { n })
    await until('all came', () => got.length === 40)
    expect(new Set(got.map(([who]) => who))).toEqual(new Set([0, 1]))
  })

  it.for(['create', 'check'] as const)('is refused elsewhere: %s', async (provision) => {
    const t = setup()
    await t.started({ sends: [t.numbers(4)] })
    const bindings = [sink(t.numbers(2), { group: 'g' }, () => {})]
    await expect(t.started({ bindings }, { provision })).rejects.toMatchObject({ kind: 'mismatch' })
  })
})
