import { createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

const PARTITIONS = 4
const Payload = z.object({ n: z.number() })

/** The same client, in which matching statements fail while `fails` is set. */
function failing(pattern: RegExp): { sql: SqlClient; fails: boolean; failed: number } {
  const state = {
    fails: false,
    failed: 0,
    sql: {
      exclusive: sql.exclusive,
      inMemory: sql.inMemory,
      isInTransaction: sql.isInTransaction,
      query: (text, parameters) => {
        if (!state.fails || !pattern.test(text)) return sql.query(text, parameters)
        state.failed++
        return Promise.reject(Object.assign(new Error('cut (made by the test)'), { code: 'ECONNRESET' }))
      },
      transaction: (work) => sql.transaction(work),
    } satisfies SqlClient as SqlClient,
  }
  return state
}

it('a process that could neither read nor give back leaves no partition behind', async () => {
  const numbers = defineChannel('numbers', { payload: Payload, key: ({ n }) => `k${n}`, partitions: PARTITIONS })
  const got = new Set<number>()
  const client = failing(/transport_fetch|transport_claim|transport_give/)
  const start = async (service: string, own: SqlClient) => {
    const transport = postgresTransport({ sql: own, schema: 'left_behind' })
    const bindings = [sink(numbers, { group: 'g' }, ({ n }) => void got.add(n))]
    const binder = createBinder({ service, transport, bindings, sends: [numbers] })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }
  const first = await start('first', client.sql)
  await first.ready()
  for (let n = 0; n < 20; n++) await first.send(numbers, { n })
  await until('one has all partitions', () => got.size === 20)

  client.fails = true
  const second = await start('second', sql)
  for (let n = 20; n < 40; n++) await second.send(numbers, { n })
  await until('it has failed', () => client.failed > 1)
  client.fails = false
  for (let n = 40; n < 60; n++) await second.send(numbers, { n })
  await until('all are handled', () => got.size === 60, 15_000)
  expect(got.size).toBe(60)
}, 60_000)

it('a crash of the server that undoes the last write of a partition leaves it reachable', async () => {
  const schema = 'undone'
  const numbers = defineChannel('numbers', { payload: Payload, key: ({ n }) => `k${n}`, partitions: PARTITIONS })
  const got = new Set<number>()
  const given: unknown[] = []
  const watched: SqlClient = {
    ...sql,
    query: async (text, parameters) => {
      const answer = await sql.query(text, parameters)
      if (text.includes('transport_give')) given.push(answer.rows[0]?.['given'])
      return answer as never
    },
  }
  const start = async (service: string, own: SqlClient) => {
    const transport = postgresTransport({ sql: own, schema, commitIntervalMs: 10 })
    const bindings = [sink(numbers, { group: 'g' }, ({ n }) => void got.add(n))]
    const binder = createBinder({ service, transport, bindings, sends: [numbers] })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }
  const first = await start('first', watched)
  await first.ready()
  for (let n = 0; n < 20; n++) await first.send(numbers, { n })
  const newest = `SELECT DISTINCT ON (part) settled::int AS settled FROM ${schema}.transport_progress
    WHERE owner IS NOT NULL ORDER BY part, ver DESC`
  const settled = async (): Promise<number> => {
    const { rows } = await sql.query<{ settled: number }>(newest)
    return rows.reduce((sum, row) => sum + row.settled, 0)
  }
  await until('all is settled and written', async () => (await settled()) === 20)
  // The newest version of the positions that it will give back is lost, as after a crash, since the commit did not wait
  // for the disk.
  const { rows } = await sql.query(
    `DELETE FROM ${schema}.transport_progress p WHERE owner IS NOT NULL
       AND part IN (SELECT id FROM ${schema}.transport_partition WHERE n >= $1)
       AND ver = (SELECT max(ver) FROM ${schema}.transport_progress x WHERE x.grp = p.grp AND x.part = p.part) RETURNING part`,
    [PARTITIONS / 2],
  )
  expect(rows).toHaveLength(PARTITIONS / 2)

  await start('second', sql)
  await until('the first has given back what is more than its share', () => given.length >= PARTITIONS / 2)
  expect(given.slice(0, PARTITIONS / 2), 'none was its own any more').toEqual([false, false])
  for (let n = 20; n < 60; n++) await first.send(numbers, { n })
  await until('all are handled', () => got.size === 60, 15_000)
  expect(got.size).toBe(60)
}, 60_000)
