/** Sagas and global transactions whose branches are undone, with a coordinator, a broker and an operator. */
import { defineChannel } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, migrateParticipant, Refusal } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { createService, type Service } from 'concordat/service'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import type { OpenUndo } from '../../support/inside/saga.ts'
import { until } from '../../support/until.ts'
import { closeEmbedded, embedded, FAST } from '../support/world.ts'

const sql = embedded()
/** Acts as another session between two steps of the saga. */
let between: () => Promise<void>
const schema = 'undo_service'
const moves = defineChannel('bank.moves', { payload: z.object({ account: z.string(), cents: z.number().int() }) })
const calls = { compensationRetry: FAST, retry: FAST }
const Input = z.object({ to: z.string() })
const transfer = defineSaga('transfer', { version: 1, input: Input })
  .tcc('withdraw', { ...calls, to: moves, request: () => ({ account: 'ann', cents: -10 }) })
  .tcc('again', { ...calls, to: moves, request: () => ({ account: 'ann', cents: -5 }) })
  .step('between', { invoke: () => between(), compensate: () => {} })
  .tcc('deposit', { ...calls, to: moves, request: ({ input }) => ({ account: input.to, cents: 15 }) })
const move = defineBranch('move', { ...calls, to: moves })
const payment = defineGlobalTransaction('payment', { input: Input, branches: [move] })

const bank = undoParticipant(
  moves,
  { group: 'bank', backoff: FAST, concurrency: 4 },
  async ({ account, cents }, { tx }) => {
    const { rowCount } = await tx.query('UPDATE account SET cents = cents + $2 WHERE id = $1', [account, cents])
    if (rowCount === 0) throw new Refusal('bank.unknown', `there is no account ${account}`)
  },
)
let service: Service

beforeAll(async () => {
  await migrateParticipant(sql, schema)
  await sql.query('CREATE TABLE account (id text PRIMARY KEY, cents int NOT NULL)')
  await sql.query("INSERT INTO account VALUES ('ann', 100), ('bob', 0)")
  await undo.protect(sql, ['account'], { schema })
  service = createService({
    name: 'bank',
    sql,
    schema,
    transport: memoryTransport(),
    sagas: [transfer, payment],
    bindings: [bank],
    parts: { coordinator: { pollMs: 20 }, relay: { idlePollMs: 10 } },
    logger: silentLogger,
  })
  await service.start()
}, 120_000)
beforeEach(async () => {
  between = () => Promise.resolve()
  await writePast("UPDATE account SET cents = CASE id WHEN 'ann' THEN 100 ELSE 0 END")
})
afterAll(async () => {
  await service.close()
  await closeEmbedded()
})

/** Past the triggers. */
async function writePast(text: string): Promise<void> {
  await sql.transaction(async (tx) => {
    await tx.query(`SELECT set_config('concordat.undo', '{"by":"operator"}', true)`)
    await tx.query(text)
  })
}

async function cents(): Promise<readonly number[]> {
  const { rows } = await sql.query<{ cents: number }>('SELECT cents FROM account ORDER BY id')
  return rows.map((row) => row.cents)
}

test.each([
  ['bob', 'completed', [85, 15]],
  ['eve', 'compensated', [100, 0]],
] as const)('a saga with two steps on one row, to %s: %s', async (to, status, expected) => {
  const run = await service.run(transfer, { id: `t-${to}`, input: { to } })
  expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject({ status })
  expect(await cents()).toEqual(expected)
  expect(await undo.open(sql, { schema })).toEqual([])
})

test.each([
  ['bob', 'paid', [85, 15]],
  ['eve', 'bank.unknown', [100, 0]],
] as const)('code that calls two branches on one row, to %s: %s', async (to, outcome, expected) => {
  const paid = await service
    .globalTransaction(payment, { id: `p-${to}`, input: { to } }, async (global) => {
      await global.call(move, { account: 'ann', cents: -10 })
      await global.call(move, { account: 'ann', cents: -5 })
      await global.call(move, { account: to, cents: 15 })
      return 'paid'
    })
    .catch(({ code }: { code: string }) => code)
  expect(paid).toBe(outcome)
  await until('all is decided', async () => (await undo.open(sql, { schema })).length === 0)
  expect(await cents()).toEqual(expected)
})

test('a row that was changed past the triggers makes the saga stuck, and an operator settles it', async () => {
  between = () => writePast("UPDATE account SET cents = 1 WHERE id = 'ann'")
  const run = await service.run(transfer, { id: 'stuck', input: { to: 'eve' } })
  const outcome = await run.outcome({ timeoutMs: 30_000 })
  expect(outcome).toMatchObject({ status: 'stuck' })
  expect(JSON.stringify(outcome)).toContain('public.account id=ann cents: expected 85, found 1')
  const of = { saga: 'transfer', id: 'stuck' }
  const line = (await undo.open(sql, { schema })).find(({ step }) => step === 'again') as OpenUndo
  expect(await undo.differences(sql, line, { schema })).toHaveLength(1)
  await undo.settle(sql, line, 'restore', { schema })
  await service.coordinator?.retry(of, { by: 'ann', reason: 'settled' })
  expect(await run.outcome({ timeoutMs: 30_000 })).toMatchObject({ status: 'compensated' })
  expect([await cents(), await undo.open(sql, { schema })]).toEqual([[100, 0], []])
})
