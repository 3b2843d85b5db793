/** `saga_write`: which rows a list of writes changes, and which of their columns. */

import { pgliteClient } from 'concordat/core/pglite'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)

beforeAll(async () => {
  await database.waitReady
  const outbox = createOutbox({ sql, service: 'shop' })
  const saga = defineSaga('buy', { version: 1, input: z.object({}) }).step('pay', {
    invoke: () => {},
    compensate: 'none',
  })
  const coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [saga] })
  await outbox.migrate()
  await coordinator.migrate()
  await coordinator.close()
}, 120_000)
afterAll(() => database.close())

const line = (kind: string) => ({ kind, step: 'pay' })
const fresh = {
  name: 'buy',
  version: 1,
  graph_hash: 'h',
  status: 'running',
  state: {},
  input: {},
  input_hash: 'i',
  birth: 'b',
  owner: null,
  epoch: 0,
  previous: 0,
  revision: 1,
  wake_ms: 60_000,
  timeline: [],
}

async function write(...writes: ReadonlyArray<object>): Promise<readonly number[]> {
  const { rows } = await sql.query<{ n: number }>('SELECT n FROM concordat.saga_write($1::jsonb) AS n', [
    JSON.stringify(writes.map((one, n) => ({ n, ...fresh, ...one }))),
  ])
  return rows.map(({ n }) => n)
}

interface Stored {
  readonly dueAt: string
  /** The saga is due at its deadline. */
  readonly isAtDeadline: boolean
  /** Ms from the write until the saga is due, and as they are stored. */
  readonly due: number
  readonly wait: number
  readonly late: boolean
  readonly owner: string | null
  readonly epoch: number
}

async function stored(id: string): Promise<Stored> {
  const { rows } = await sql.query<Stored>(
    `SELECT due_at::text AS "dueAt", due_at = deadline_at AS "isAtDeadline", late, owner, epoch::int AS epoch,
       round(extract(epoch FROM due_at - updated_at) * 1000)::int AS due, round(wait_ms)::int AS wait
     FROM concordat.saga WHERE id = $1`,
    [id],
  )
  return rows[0] as Stored
}

test('a later write looks at the saga at its deadline, also when it waits for longer or without a limit', async () => {
  await write({ id: 'd', deadline_ms: 20_000, heed: true })
  expect(await stored('d')).toMatchObject({ isAtDeadline: true, due: 20_000, wait: 20_000 })
  for (const [n, wake_ms] of [60_000, null].entries()) {
    await write({ id: 'd', previous: n + 1, revision: n + 2, heed: true, wake_ms })
    const { isAtDeadline, due, wait } = await stored('d')
    expect(isAtDeadline).toBe(true)
    expect(wait).toBe(due)
  }
  await write({ id: 'd', previous: 3, revision: 4, heed: true, wake_ms: 50 })
  expect(await stored('d')).toMatchObject({ due: 50, wait: 50 })
  await write({ id: 'd', previous: 4, revision: 5, heed: false })
  expect(await stored('d')).toMatchObject({ due: 60_000, wait: 60_000 })
})

test('a write that leaves the time as it is keeps both when the saga is due and how long that was away', async () => {
  await write({ id: 'k' })
  const { dueAt } = await stored('k')
  await write({ id: 'k', previous: 1, revision: 2, keep_due: true, wake_ms: null })
  expect(await stored('k')).toMatchObject({ dueAt, wait: 60_000 })
})

test('a write sets the owner and the epoch, and takes back that the saga is late', async () => {
  await write({ id: 'o' })
  await sql.query(`UPDATE concordat.saga SET late = true WHERE id = 'o'`)
  await write({ id: 'o', previous: 1, revision: 2, owner: 'ann', epoch: 7 })
  expect(await stored('o')).toMatchObject({ owner: 'ann', epoch: 7, late: false })
})

test('writes that replace another revision, or a saga of another birth, change nothing and have no timeline', async () => {
  await write({ id: 't' })
  const first = { id: 't', previous: 1, revision: 2, timeline: ['a', 'b', 'c'].map(line) }
  const [stale, other] = [
    { id: 't', previous: 7, revision: 8, timeline: [line('stale')] },
    { id: 't', previous: 2, revision: 3, birth: 'other', timeline: [line('other')] },
  ]
  expect(await write(first, stale, other, { id: 't', timeline: [line('again')] })).toEqual([0])
  const { rows } = await sql.query<{ kind: string }>(
    `SELECT kind FROM concordat.saga_event WHERE id = 't' ORDER BY seq`,
  )
  expect(rows.map(({ kind }) => kind)).toEqual(['a', 'b', 'c'])
})
