/** Global transactions whose database fails over to a copy without the last commits, while their code runs. */
import { Refusal } from 'concordat/saga'
import {
  BranchRefused,
  currentGlobalTransaction,
  type GlobalTransaction,
  outsideGlobalTransaction,
  transactionHeaders,
} from 'concordat/saga/global'
import { type TccHandlers } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'
import { gate, until } from '../../support/until.ts'
import { type BankWorld, deposit, input, type Move, openBank, transfer, withdraw } from '../support/bank.ts'
import { closeEmbedded, openEmbedded } from '../support/world.ts'

const closing: Array<() => Promise<void>> = []

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

interface FailingOver extends BankWorld {
  /** Does the work, then takes the transaction back to its state from before. */
  readonly losing: <T>(work: () => Promise<T>) => Promise<T>
  /** Calls a branch, which is then lost. */
  readonly lose: (global: GlobalTransaction, account: string) => Promise<unknown>
}

async function setup(
  handlers: Partial<TccHandlers<Move>> = {},
  options: Partial<CoordinatorOptions> = {},
): Promise<FailingOver> {
  const world = await openBank(handlers, options)
  closing.push(async () => world[Symbol.asyncDispose]())
  const { sql, run } = world
  const losing = async <T>(work: () => Promise<T>): Promise<T> => {
    await sql.query(`CREATE TABLE ${run}.copy AS SELECT * FROM ${run}.saga`)
    const result = await work()
    await sql.query(`UPDATE ${run}.saga s SET state = k.state, revision = k.revision FROM ${run}.copy k`)
    return result
  }
  const lose = (global: GlobalTransaction, account: string): Promise<unknown> =>
    losing(() => global.call(withdraw, { account, cents: 5 }).catch((error: unknown) => error))
  return Object.assign(world, { losing, lose })
}

test('an answered branch that the database lost is asked again, and confirmed with the rest', async () => {
  const { coordinator, calls, lose } = await setup()
  const result = await coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
    expect(await lose(global, 'a')).toEqual({ held: 5 })
    await global.call(deposit, { account: 'b', cents: 5 })
    return 'done'
  })
  expect(result).toBe('done')
  expect(calls.slice(0, 2)).toEqual(['try a', 'try b'])
  expect(calls.slice(2).toSorted()).toEqual(['confirm a', 'confirm b'])
})

test('an answered branch that the database lost is cancelled when the code throws', async () => {
  const { coordinator, calls, lose } = await setup()
  const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
    await lose(global, 'a')
    await global.call(deposit, { account: 'b', cents: 5 })
    throw new Error('changed my mind')
  })
  await expect(run).rejects.toThrow('changed my mind')
  expect(calls.slice(0, 2)).toEqual(['try a', 'try b'])
  expect(calls.slice(2).toSorted()).toEqual(['cancel a true', 'cancel b true'])
})

test('an answered branch that the database lost is cancelled when an operator cancels', async () => {
  const { coordinator, calls, lose } = await setup()
  const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
    await lose(global, 'a')
    await coordinator.cancel({ saga: transfer.name, id: 't-1' }, { by: 'ann', reason: 'fraud' })
    return 'done'
  })
  await expect(run).rejects.toMatchObject({ code: 'saga.transaction_cancelled' })
  expect(calls).toEqual(['try a', 'cancel a true'])
})

test('a refused branch that the database lost is not asked again', async () => {
  const { coordinator, calls, lose } = await setup({
    try: ({ account }) => {
      if (account === 'closed') throw new Refusal('bank.closed', 'no such account')
      return { held: 1 }
    },
  })
  const result = await coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
    expect(await lose(global, 'closed')).toBeInstanceOf(BranchRefused)
    await global.call(deposit, { account: 'b', cents: 5 })
    return 'done'
  })
  expect(result).toBe('done')
  expect(calls).toEqual(['try closed', 'try b', 'confirm b'])
})

test('a branch of a joined process that the database lost is confirmed if the process of the code had seen it', async () => {
  const { coordinator, coordinate, calls, losing } = await setup()
  const other = coordinate()
  closing.push(() => other.close())
  await other.run()
  await coordinator.globalTransaction(transfer, { id: 't-1', input }, (global) =>
    losing(async () => {
      const headers = transactionHeaders()
      const join = () => currentGlobalTransaction()?.call(withdraw, { account: 'joined', cents: 5 })
      await outsideGlobalTransaction(() => other.inheritTransaction(headers, join))
      await global.call(deposit, { account: 'b', cents: 5 })
    }),
  )
  expect(calls.slice(0, 2)).toEqual(['try joined', 'try b'])
  expect(calls.slice(2).toSorted()).toEqual(['confirm b', 'confirm joined'])
})

/** A logger that keeps warnings and errors, with their levels. */
function keepingLogger() {
  const lines: string[] = []
  const keep =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  const ignore = (): void => {}
  return { lines, logger: { debug: ignore, info: ignore, warn: keep('warn'), error: keep('error') } }
}

describe('a transaction whose start the database lost', () => {
  const lost = { code: 'saga.transaction_cancelled', failure: { code: 'saga.transaction_lost' } }

  test('is cancelled with the branches that were answered, although its code returns', async () => {
    const { lines, logger } = keepingLogger()
    const { coordinator, calls, sql, run } = await setup({}, { logger })
    const running = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await global.call(deposit, { account: 'b', cents: 5 })
      await sql.query(`DELETE FROM ${run}.saga`)
      return 'done'
    })
    await expect(running).rejects.toMatchObject(lost)
    expect(calls.slice(0, 2)).toEqual(['try a', 'try b'])
    expect(calls.slice(2).toSorted()).toEqual(['cancel a true', 'cancel b true'])
    const inserted = expect.stringMatching(/^warn the database lost a global transaction: inserted again.*1\.withdraw/)
    expect(lines).toEqual(expect.arrayContaining([inserted]))
  })

  test('is cancelled when its code calls one more branch, which is refused', async () => {
    const { coordinator, calls, sql, run } = await setup()
    const running = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await sql.query(`DELETE FROM ${run}.saga`)
      await global.call(deposit, { account: 'b', cents: 5 })
    })
    // The call finds that the row is missing, or a renewal of the lease finds it first.
    const code = expect.stringMatching(/^saga\.transaction_(?:ended|cancelled)$/) as string
    await expect(running).rejects.toMatchObject({ code })
    const outcome = await coordinator.get(transfer, 't-1').outcome({ timeoutMs: 20_000 })
    expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'saga.transaction_lost' } })
    expect(calls).toEqual(['try a', 'cancel a true'])
  })

  test('is cancelled while its code runs, as soon as its lease is not renewed', async () => {
    const { coordinator, calls, sql, run } = await setup({}, { leaseMs: 1_000 })
    const running = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await sql.query(`DELETE FROM ${run}.saga`)
      await new Promise((resolve) => global.signal.addEventListener('abort', resolve))
    })
    await expect(running).rejects.toMatchObject(lost)
    expect(calls).toEqual(['try a', 'cancel a true'])
  })

  test('is not inserted again over another one with its id, whose code is called once: an error names its branches', async () => {
    const { lines, logger } = keepingLogger()
    const { coordinator, calls, sql, run } = await setup({}, { logger })
    const [begun, leave] = [gate(), gate()]
    let count = 0
    let second: Promise<unknown> | undefined
    const first = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await sql.query(`DELETE FROM ${run}.saga`)
      second = outsideGlobalTransaction(() =>
        coordinator.globalTransaction(transfer, { id: 't-1', input }, async () => {
          count++
          begun.open()
          await leave.opened
          return 'second'
        }),
      )
      await begun.opened
      return 'first'
    })
    const taken = /^error the database lost a global transaction whose id is used anew.*1\.withdraw/
    await until('the first has ended', () => lines.some((line) => taken.test(line)))
    leave.open()
    expect(await first).toBe('second')
    expect(await second).toBe('second')
    expect([count, calls]).toEqual([1, ['try a']])
  })
})
