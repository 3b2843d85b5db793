/** The fault's effect on one branch, in PGlite; `transactions.int.test.ts` plays all of it. */
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { undo } from 'concordat/saga/undo'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { commandHeaders, deliver, takeReplies } from '../../saga/support/delivery.ts'
import { closeEmbedded, embedded } from '../../saga/support/world.ts'
import type { Operation } from '../../support/inside/saga.ts'
import { Random } from '../harness/random.ts'
import { BRANCHES, createTables, HOUSES, PROTECTED, sagasOf } from './bank.ts'
import type { House } from './house.ts'
import { Operator } from './operator.ts'
import { Strangers } from './strangers.ts'
import { readTables } from './tables.ts'

const sql = embedded()
const outbox = createOutbox({ sql, service: 'north', schema: 'north', partitions: 1 })
const coordinator = createCoordinator({
  service: 'bank',
  sql,
  outbox: createOutbox({ sql, service: 'bank' }),
  sagas: sagasOf('run'),
})
const retried: unknown[] = []
const house = {
  sql: { desk: sql, north: sql, south: sql },
  coordinator: { retry: (target: unknown) => Promise.resolve(retried.push(target)) },
  staff: { note: () => 0 },
} as unknown as House
let strangers: Strangers

beforeAll(async () => {
  await createTables(sql)
  await createOutbox({ sql, service: 'bank' }).migrate()
  await coordinator.migrate()
  for (const schema of HOUSES) {
    await createOutbox({ sql, service: schema, schema, partitions: 1 }).migrate()
    await migrateParticipant(sql, schema)
  }
  await undo.protect(sql, PROTECTED, { schema: 'north' })
  await sql.query("INSERT INTO account VALUES ('a0', 400, 400), ('a1', 400, 400)")
  strangers = new Strangers(house, new Random('1'), () => ['a0', 'a1'])
  await strangers.leave()
}, 120_000)
afterAll(closeEmbedded)

/**
 * A branch that takes 50 from `a1`, a stranger who is refused, and one that the triggers do not see; then it is
 * cancelled.
 */
async function play(id: string, mistake?: string) {
  const side = { group: 'north', concurrency: 1, sql, outbox, schema: 'north' } as const
  const binding = BRANCHES.undo('north', side, 'w', mistake)
  const send = async (operation: Operation): Promise<readonly string[]> => {
    const headers = { ...commandHeaders(id, operation, 1, 'withdraw'), 'saga-kind': 'tcc' }
    await deliver(binding, { account: 'a1', cents: -50 }, headers)
    const replies = await takeReplies(sql, 'north')
    return replies.map(({ status, code = '' }) => `${status} ${code}`.trim())
  }
  expect(await send('invoke')).toEqual(['ok'])
  const writes = sql.query("UPDATE account SET free = 0 WHERE id = 'a1'")
  await expect(writes).rejects.toSatisfy((error: unknown) => undo.isRowHeld(error))
  const crossed = await strangers.movePast('north')
  expect(crossed).toEqual([{ side: 'north', saga: 'order', id, step: 'withdraw', account: 'a1', cents: -50 }])
  const { held } = await readTables(house)
  expect(held.map((line) => line.split(':')[0])).toEqual([
    'row lock of undo',
    'row lock of undo',
    'branch of undo',
    'image of undo',
    'image of undo',
  ])
  return { crossed, send, cancelled: await send('compensate') }
}

/** Surplus of each account over its strangers' records. */
async function tooMuch(): Promise<readonly number[]> {
  const { rows } = await sql.query<{ n: number }>(
    `SELECT balance - 400 - (SELECT coalesce(sum(cents), 0) FROM foreign_move WHERE account = id)::int AS n FROM account ORDER BY id`,
  )
  return rows.map(({ n }) => n)
}

it('a write past the triggers makes the transaction stuck, is not overwritten, and the operator fixes it', async () => {
  const { crossed, send, cancelled } = await play('right')
  expect([cancelled, await tooMuch()]).toEqual([['failed saga.undo_conflict'], [0, -50]])
  const operator = new Operator(house)
  await operator.putRight({ saga: 'order', id: 'right' }, crossed)
  expect([retried, operator.settled, await tooMuch()]).toEqual([[{ saga: 'order', id: 'right' }], 1, [0, 0]])
  expect(await send('compensate')).toEqual(['ok'])
  expect((await readTables(house)).held).toEqual([])
})

it('loses what strangers did with the mistake restore-without-comparison', async () => {
  const { cancelled } = await play('mistaken', 'restore-without-comparison')
  expect(cancelled).toEqual(['ok'])
  expect((await tooMuch())[1]).not.toBe(0)
})
