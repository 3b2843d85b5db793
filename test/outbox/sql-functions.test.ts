/** `outbox_window` and `outbox_pass`: which rows they read, for which relay. */
import { pgliteClient } from 'concordat/core/pglite'
import { createOutbox } from 'concordat/outbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)

beforeAll(async () => {
  await database.waitReady
  await createOutbox({ sql, service: 'shop', partitions: 1 }).migrate()
  await sql.query(`UPDATE concordat.outbox_lease SET owner = 'me', epoch = 3`)
  await sql.query(
    `INSERT INTO concordat.outbox (partition, seq, id, aggregatetype, aggregateid, type, source, content_type, time)
     SELECT 0, n, 'm' || n, CASE WHEN n < 4 THEN 'away' ELSE 'orders' END, CASE n WHEN 5 THEN NULL ELSE 'k' || n END, 't', 's', 'c', 0
     FROM generate_series(1, 6) n`,
  )
}, 120_000)
afterAll(() => database.close())

interface Asked {
  readonly owner?: string
  readonly epoch?: number
  readonly after?: readonly [seq: number, id: string]
  readonly away?: readonly string[]
}

async function read({ owner = 'me', epoch = 3, after, away = [] }: Asked): Promise<readonly string[]> {
  const { rows } = await sql.query<{ id: string }>(
    `SELECT id FROM concordat.outbox_window(0, $1, $2::bigint, 10, '{}', '{}', $3::text[], $4::bigint, $5, NULL)`,
    [owner, epoch, away, after?.[0] ?? null, after?.[1] ?? null],
  )
  return rows.map(({ id }) => id)
}

test('a window is for the relay that holds the lease, under its epoch', async () => {
  expect(await read({})).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6'])
  expect(await read({ owner: 'another' })).toEqual([])
  expect(await read({ epoch: 2 })).toEqual([])
})

test('a window begins after a row by its number and id, and at the first row when the number is another message’s', async () => {
  expect(await read({ after: [3, 'm3'] })).toEqual(['m4', 'm5', 'm6'])
  expect(await read({ after: [3, 'lost'] })).toHaveLength(6)
})

test('a window leaves out unavailable destinations and held keys, and keeps messages without a key', async () => {
  expect(await read({ away: ['away'] })).toEqual(['m4', 'm5', 'm6'])
  const hold = (id: string, at: string | null) =>
    sql.query('UPDATE concordat.outbox SET next_attempt_at = $2::timestamptz WHERE id = $1', [id, at])
  await hold('m6', 'infinity')
  expect(await read({ away: ['away'] })).toEqual(['m4', 'm5'])
  await hold('m5', 'infinity')
  expect(await read({ away: ['away'] })).toEqual(['m4'])
  for (const id of ['m5', 'm6']) await hold(id, null)
})

test('a pass begins after a row by its number and id, and ends at the first row of another destination', async () => {
  const pass = async (seq: number | null, id: string | null, away: readonly string[]) =>
    (
      await sql.query(`SELECT id, has_more FROM concordat.outbox_pass(0, $1::bigint, $2, $3::text[], NULL)`, [
        seq,
        id,
        away,
      ])
    ).rows
  expect(await pass(null, null, ['away'])).toEqual([{ id: 'm3', has_more: false }])
  expect(await pass(3, 'm3', ['away'])).toEqual([{ id: null, has_more: false }])
  expect(await pass(3, 'lost', ['away'])).toEqual([{ id: 'm3', has_more: false }])
})

test.each([3, 12])('a relay without the lease deletes none of %i rows', async (count) => {
  const names = Array.from({ length: count }, (_, i) => i + 101)
  await sql.query(
    `INSERT INTO concordat.outbox (partition, seq, id, aggregatetype, type, source, content_type, time)
     SELECT 0, n, 'm' || n, 'orders', 't', 's', 'c', 0 FROM unnest($1::bigint[]) n`,
    [names],
  )
  const confirm = async (epoch: number) => {
    const { rows } = await sql.query<{ owned: boolean }>(
      `SELECT concordat.outbox_confirm(0, 'me', $1::bigint, $2::bigint[], $3::text[]) AS owned`,
      [epoch, names, names.map((n) => `m${n}`)],
    )
    const left = await sql.query('SELECT FROM concordat.outbox WHERE seq > 100')
    return [rows[0]?.owned, left.rowCount]
  }
  expect(await confirm(2)).toEqual([false, count])
  expect(await confirm(3)).toEqual([true, 0])
})
