/** Logs, timelines and spans of global transactions, and global transactions beside sagas. */
import { defineSaga, Refusal } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { type TccHandlers } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'
import { LogLines } from '../../support/log-lines.ts'
import { record, traceIdOf } from '../../support/tracing.ts'
import { gate, until } from '../../support/until.ts'
import {
  type BankWorld,
  bankCommands,
  deposit,
  input,
  type Move,
  openBank,
  transfer,
  withdraw,
} from '../support/bank.ts'
import { closeEmbedded, openEmbedded } from '../support/world.ts'

/** A busy machine must be able to renew two hundred within a third of it. */
const LEASE_MS = 30_000
const closing: Array<() => Promise<void>> = []

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function setup(
  handlers: Partial<TccHandlers<Move>> = {},
  options: Partial<CoordinatorOptions> = {},
): Promise<BankWorld> {
  const world = await openBank(handlers, options)
  closing.push(async () => world[Symbol.asyncDispose]())
  return world
}

test('code gets an answer that reached an instance which does not have its definition', async () => {
  const other = defineGlobalTransaction('other', { input: z.object({}), branches: [withdraw, deposit] })
  const log = new LogLines()
  // The instance that reads the replies is of a release without the transaction.
  const { coordinate, calls } = await setup({}, { sagas: [other], logger: log.logger })
  const coordinator = coordinate({ sagas: [transfer], instance: 'with', logger: undefined })
  closing.push(() => coordinator.close())
  await coordinator.run()
  const held = await coordinator.globalTransaction(transfer, { id: 't-1', input }, (global) =>
    global.call(withdraw, { account: 'ann', cents: 7 }),
  )
  expect(held).toEqual({ held: 7 })
  expect(log.text).toContain('reply left for an instance with its version')
  expect(calls).toEqual(['try ann', 'confirm ann'])
})

test('logs and timelines hold no payload and no result', async () => {
  const secret = 'tulip-4711'
  const log = new LogLines()
  const handlers: Partial<TccHandlers<Move>> = {
    try: ({ cents }) => {
      if (cents === 1) throw new Refusal('bank.no', 'no')
      if (cents === 2) throw new Error('no disk')
      return { held: 1, of: secret }
    },
    confirm: ({ cents }) => {
      if (cents === 3) throw new Error('no disk')
    },
  }
  const { coordinator } = await setup(handlers, { logger: log.logger })
  for (const cents of [0, 1, 2, 3]) {
    const run = coordinator.globalTransaction(transfer, { id: `t-${cents}`, input }, async (global) => {
      await global.call(deposit, { account: secret, cents: 0 })
      await global.call(withdraw, { account: secret, cents })
      return secret
    })
    if (cents === 0) await run
    else await expect(run).rejects.toThrow()
    const { timeline, steps } = await coordinator.report({ saga: 'transfer', id: `t-${cents}` })
    expect(JSON.stringify(steps)).toContain(secret)
    expect(JSON.stringify(timeline)).not.toContain(secret)
  }
  expect(log.lines.length).toBeGreaterThan(3)
  expect(log.text).not.toContain(secret)
})

test('one trace holds the code, each branch that it calls and their outcomes', async () => {
  const recording = record()
  const { telemetry } = recording
  const { coordinator } = await setup({}, { telemetry })
  await coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
    await global.call(withdraw, { account: 'a', cents: 5 })
    await global.call(deposit, { account: 'b', cents: 5 })
  })
  const branches = ['1.withdraw', '2.deposit'].flatMap((step) => [
    `branch transfer/${step} ${step}`,
    // Tried and confirmed.
    ...[1, 2].flatMap(() => [`create bank.commands ${step}`, `reply transfer/${step} ${step}`]),
  ])
  const spansOfSaga = (): ReturnType<typeof recording.spans> =>
    recording.spans().filter(({ attributes }) => attributes['concordat.saga.id'] === 't-1')
  const nameOf = ({ name, attributes }: ReturnType<typeof recording.spans>[number]): string =>
    [name, attributes['concordat.saga.step']].join(' ').trim()
  const expected = ['start transfer', 'invoke transfer/code code', ...branches].toSorted()
  // The handling of the last reply ends a moment after the transaction.
  await expect.poll(() => spansOfSaga().map(nameOf).toSorted()).toEqual(expected)
  const spans = spansOfSaga()
  expect(new Set(spans.map(traceIdOf)).size).toBe(1)
})

test('two hundred at once and as many sagas: none starves, and no lease is lost', { timeout: 120_000 }, async () => {
  const log = new LogLines()
  const saga = defineSaga('local', { version: 1, input: z.object({}) })
    .step('first', { transactional: true, invoke: () => 1, compensate: 'none' })
    .step('second', { invoke: () => 2, compensate: 'none' })
  const move = defineBranch('move', { to: bankCommands })
  const busy = defineGlobalTransaction('busy', { input: transfer.input, branches: [move], timeoutMs: 100_000 })
  const options = { sagas: [busy, saga], concurrency: 4, leaseMs: LEASE_MS, logger: log.logger }
  const { coordinator, calls, sql, run } = await setup({}, options)
  const ids = Array.from({ length: 200 }, (_, n) => n)
  const renewed = gate()
  let running = 0
  const transactions = ids.map((n) =>
    coordinator.globalTransaction(busy, { id: `t-${n}`, input }, async (global) => {
      await global.call(move, { account: `a${n}`, cents: 5 })
      running++
      await renewed.opened
      await global.call(move, { account: `b${n}`, cents: 5 })
      return n
    }),
  )
  const sagas = ids.map(async (n) => (await coordinator.start(saga, { id: `s-${n}`, input: {} })).outcome())
  for (const outcome of await Promise.all(sagas)) expect(outcome.status).toBe('completed')
  await until('all are in the middle', () => running === ids.length, 60_000)
  const { rows } = await sql.query<{ at: Date }>('SELECT now() + make_interval(secs => $1) AS at', [LEASE_MS / 1_000])
  await until(
    'each lease was renewed since then',
    async () => {
      const late = await sql.query(`SELECT 1 FROM ${run}.saga WHERE name = 'busy' AND due_at <= $1`, [rows[0]?.at])
      return late.rows.length === 0
    },
    LEASE_MS,
  )
  renewed.open()
  expect(await Promise.all(transactions)).toEqual(ids)
  expect(calls.filter((call) => call.startsWith('confirm'))).toHaveLength(2 * ids.length)
  expect(log.text).not.toContain('lease lost')
})
