import { type Binder, type BinderOptions, createBinder, defineChannel, sink } from 'concordat/binder'
import { bytesCodec, type SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'
import { gate, until } from '../../support/until.ts'

const database = freshPglite()
const own = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['a', 'b'] })
const COUNT = 120

/** The same client, which counts the messages that the server has sent. */
function counting(): { readonly sql: SqlClient; bodies: number } {
  const state = {
    bodies: 0,
    sql: {
      ...own,
      async query<Row extends object>(text: string, parameters?: readonly unknown[]) {
        const result = await own.query<Row>(text, parameters)
        state.bodies += result.rows.filter((row) => 'body' in row).length
        return result
      },
    } satisfies SqlClient,
  }
  return state
}

let count = 0

async function started(
  sql: SqlClient,
  { sends, bindings }: Pick<BinderOptions, 'sends' | 'bindings'>,
): Promise<Binder> {
  const transport = postgresTransport({ sql, schema: `shared${++count}` })
  const binder = createBinder({ service: 'test', transport, sends, bindings })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  return binder
}

it('a shared read fetches messages for one group of a process alone; the others get them from there, whole and in order', async () => {
  const server = counting()
  const got: Record<string, number[]> = { a: [], b: [], c: [] }
  const groups = Object.entries(got).map(([group, list]) => sink(numbers, { group }, ({ n }) => void list.push(n)))
  const binder = await started(server.sql, { sends: [numbers], bindings: groups })
  await binder.send(numbers, { n: -1 })
  await until('each has read something', () => Object.values(got).every(({ length }) => length === 1))
  for (const group of ['b', 'c']) binder.binding(`numbers.${group}`).pause()
  const before = server.bodies
  const sent = Array.from({ length: COUNT }, (_, n) => n)
  await binder.sendBatch(
    numbers,
    sent.map((n) => ({ n })),
  )
  await until('one has all', () => got['a']?.length === COUNT + 1)
  for (const group of ['b', 'c']) binder.binding(`numbers.${group}`).resume()
  await until('all have all', () => Object.values(got).every(({ length }) => length === COUNT + 1))
  for (const list of Object.values(got)) expect(list).toEqual([-1, ...sent])
  expect(server.bodies - before).toBe(COUNT)
})

it('a shared read begins none of a group’s fetched messages after a crash of the server gave their positions to other messages', async () => {
  const got: Record<string, number[]> = { a: [], b: [] }
  const groups = Object.entries(got).map(([group, list]) => sink(numbers, { group }, ({ n }) => void list.push(n)))
  const binder = await started(own, { sends: [numbers], bindings: groups })
  const schema = `shared${count}`
  await binder.send(numbers, { n: -1 })
  await until('each has read something', () => Object.values(got).every(({ length }) => length === 1))
  binder.binding('numbers.b').pause()
  await binder.sendBatch(
    numbers,
    Array.from({ length: COUNT }, (_, n) => ({ n })),
  )
  await until('one has all', () => got['a']?.length === COUNT + 1)
  // Simulates a crash: the positions were assigned anew, to the same messages in another order.
  await own.query(
    `UPDATE ${schema}.transport_tick SET seqs = (SELECT array_agg(s ORDER BY s DESC) FROM unnest(seqs) s) WHERE n > 1`,
  )
  binder.binding('numbers.b').resume()
  await until('the other has all', () => got['b']?.length === COUNT + 1)
  expect(got['b']?.slice(1)).toEqual(got['a']?.slice(1).toReversed())
})

it('a shared read gives each group bytes of its own', async () => {
  const bytes = defineChannel('bytes', {
    payload: z.instanceof(Uint8Array),
    codec: bytesCodec,
    partitions: 1,
    groups: ['a', 'b'],
  })
  const seen: number[] = []
  const wrote = gate()
  const isFirst = { n: 0 }
  const binder = await started(own, {
    sends: [bytes],
    bindings: [
      sink(bytes, { group: 'a' }, (payload) => {
        payload.fill(0)
        if (++isFirst.n === COUNT + 1) wrote.open()
      }),
      sink(bytes, { group: 'b' }, (payload) => void seen.push(payload[0] as number)),
    ],
  })
  await binder.send(bytes, new Uint8Array([7]))
  await until('each has read something', () => seen.length === 1 && isFirst.n === 1)
  binder.binding('bytes.b').pause()
  await binder.sendBatch(
    bytes,
    Array.from({ length: COUNT }, () => new Uint8Array([7])),
  )
  await wrote.opened
  binder.binding('bytes.b').resume()
  await until('the other has all', () => seen.length === COUNT + 1)
  expect(new Set(seen)).toEqual(new Set([7]))
})
