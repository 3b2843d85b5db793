import { type Binder, defineChannel, sink } from 'concordat/binder'
import type { Clock, SqlClient } from 'concordat/core'
import { systemClock } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { onPglite, starterOn } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number() })
const TOO_LONG = 20_000

function setup() {
  const schema = `forgotten${++count}`
  const numbers = defineChannel('numbers', { payload: Payload, key: ({ n }) => `k${n}`, partitions: 2, groups: ['g'] })
  const other = defineChannel('other', { payload: Payload, key: ({ n }) => `k${n}`, partitions: 2, groups: ['g'] })
  const started = starterOn(sql, schema)
  const run = async (text: string): Promise<void> => void (await sql.query(text.replaceAll('{schema}', schema)))
  const forget = (): Promise<boolean> => postgresTransport({ sql, schema }).forgetGroup('numbers', 'g')
  return { schema, numbers, other, started, run, forget }
}

interface Standing {
  readonly sql: SqlClient
  /** Simulates a lost network. */
  still: boolean
  /** Work to run right before the first statement that matches. */
  before: { readonly pattern: RegExp; readonly work: () => Promise<unknown> } | undefined
}

function standing(): Standing {
  const query: SqlClient['query'] = async (text, parameters) => {
    if (state.still) await until('it goes on', () => !state.still)
    const { before } = state
    if (before?.pattern.test(text) === true) {
      state.before = undefined
      await before.work()
    }
    return sql.query(text, parameters)
  }
  const state: Standing = { sql: { ...sql, query }, still: false, before: undefined }
  return state
}

function jumping(): { clock: Clock; jump: (durationMs: number) => void } {
  let jumpMs = 0
  const now = (): number => systemClock.now() + jumpMs
  const monotonic = (): number => systemClock.monotonic() + jumpMs
  return { clock: { ...systemClock, now, monotonic }, jump: (durationMs) => void (jumpMs += durationMs) }
}

describe('a group that is forgotten', () => {
  it('while its member was cut off is recreated by it: it reads later messages', async () => {
    const t = setup()
    const client = standing()
    const { clock, jump } = jumping()
    const got: number[] = []
    const bindings = [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = await t.started({ bindings, clock }, { sql: client.sql })
    await binder.send(t.numbers, { n: 0 })
    await until('it has one', () => got.length === 1)
    client.still = true
    jump(TOO_LONG)
    await t.run(`UPDATE {schema}.transport_session SET live_until = '-infinity'`)
    expect(await t.forget()).toBe(true)
    client.still = false
    const sender = await t.started({ sends: [t.numbers] })
    for (const n of [1, 2, 3, 4, 5]) await sender.send(t.numbers, { n })
    await until('it reads again', () => [1, 2, 3, 4, 5].every((n) => got.includes(n)))
  })

  it('while its first member joins is recreated', async () => {
    const t = setup()
    const client = standing()
    const got: number[] = []
    client.before = { pattern: /INSERT INTO \S+transport_session/, work: t.forget }
    const bindings = [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = await t.started({ bindings }, { sql: client.sql })
    expect(client.before).toBeUndefined()
    await binder.send(t.numbers, { n: 1 })
    await until('it reads', () => got.includes(1))
  })

  it('a forgotten group that is not made again leaves its binding unhealthy', async () => {
    const t = setup()
    const client = standing()
    await t.started({ sends: [t.numbers] })
    const { clock, jump } = jumping()
    const bindings = [sink(t.numbers, { group: 'g', onFailure: 'drop' }, () => {})]
    const binder = await t.started({ bindings, clock }, { sql: client.sql, provision: 'none' })
    expect(binder.health().status).toBe('up')
    client.still = true
    jump(TOO_LONG)
    await t.run(`UPDATE {schema}.transport_session SET live_until = '-infinity'`)
    expect(await t.forget()).toBe(true)
    client.still = false
    await until('it says so', () => binder.health().status === 'down')
    await until('and why', () => /has no group "g"/.test(binder.bindings()[0]?.error ?? ''))
  })
})

describe('a member that lives while its tables change', () => {
  it.for(['others make them again', 'no other process makes them'] as const)(
    'subscribes anew when they were dropped, and reads no other channel: %s',
    { timeout: 60_000 },
    async (who) => {
      const t = setup()
      const got: number[] = []
      const bindings = [sink(t.numbers, { group: 'g', onFailure: 'drop' }, ({ n }) => void got.push(n))]
      const binder = await t.started({ bindings })
      for (const n of [0, 1, 2, 3]) await binder.send(t.numbers, { n })
      await until('it has some', () => got.length === 4)
      await t.run('DROP SCHEMA {schema} CASCADE')
      const others: number[] = []
      const second = async (): Promise<Binder> =>
        t.started({
          // The first of them gets the numbers that the channel and the group had before.
          bindings: [sink(t.other, { group: 'g', onFailure: 'drop' }, ({ n }) => void others.push(n))],
          sends: [t.numbers],
        })
      if (who === 'no other process makes them') await until('they are made', async () => isMade(t.schema))
      const sender = await second()
      for (const n of [10, 11, 12, 13]) await sender.send(t.other, { n })
      for (const n of [20, 21, 22, 23]) await sender.send(t.numbers, { n })
      await until('both have all', () => got.length >= 8 && others.length >= 4)
      expect(others.toSorted((a, b) => a - b)).toEqual([10, 11, 12, 13])
      expect(got.slice(4).toSorted((a, b) => a - b)).toEqual([20, 21, 22, 23])
    },
  )

  it('subscribes anew when they were emptied, and repeats the stored messages', async () => {
    const t = setup()
    const got: number[] = []
    const bindings = [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = await t.started({ bindings, sends: [t.numbers] })
    for (const n of [0, 1, 2, 3]) await binder.send(t.numbers, { n })
    await until('all is settled', async () => got.length === 4 && (await binder.lag('numbers.g')) === 0)
    await t.run('TRUNCATE {schema}.transport_progress')
    for (const n of [4, 5, 6, 7]) await binder.send(t.numbers, { n })
    await until('it reads on', () => [4, 5, 6, 7].every((n) => got.includes(n)))
  })

  it('reports lost positions when they were emptied, as does a starting member', async () => {
    const t = setup()
    const got: number[] = []
    const bindings = [sink(t.numbers, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = await t.started({ bindings, sends: [t.numbers] })
    await binder.send(t.numbers, { n: 0 })
    await until('it has one', () => got.length === 1)
    await t.run('TRUNCATE {schema}.transport_tick')
    await binder.send(t.numbers, { n: 1 })
    await until('it says so', () => binder.health().status === 'down')
    await until('and why', () => /positions/.test(binder.bindings()[0]?.error ?? ''))
    await expect(t.started({ bindings: [sink(t.numbers, { group: 'g' }, () => {})] })).rejects.toMatchObject({
      kind: 'mismatch',
      message: expect.stringMatching(/the positions of "numbers" are gone/),
    })
  })
})

async function isMade(schema: string): Promise<boolean> {
  const { rows } = await sql.query<{ is: boolean }>(`SELECT to_regclass($1) IS NOT NULL AS is`, [
    `${schema}.transport_ring`,
  ])
  return rows[0]?.is === true
}
