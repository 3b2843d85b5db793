import { defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { Refusal } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { BranchRefused, currentGlobalTransaction, defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { type TccHandlers } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'
import { until } from '../../support/until.ts'
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

const unlisted = defineBranch('unlisted', { to: bankCommands })
const by = { by: 'ann', reason: 'test' }
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

const statusOf = async (sql: SqlClient, run: string, id: string): Promise<string | undefined> =>
  (await sql.query<{ status: string }>(`SELECT status FROM ${run}.saga WHERE id = $1`, [id])).rows[0]?.status

describe('a transaction that is just code', () => {
  test('confirms all branches when its code has returned, and resolves with the result', async () => {
    const { coordinator, calls } = await setup()
    const result = await coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      const { held } = await global.call(withdraw, { account: 'a', cents: 5 })
      await Promise.all([1, 2].map((n) => global.call(deposit, { account: `b${n}`, cents: held })))
      expect(calls.filter((call) => call.startsWith('confirm'))).toEqual([])
      return { held, at: new Date(0) }
    })
    expect(result).toEqual({ held: 5, at: '1970-01-01T00:00:00.000Z' })
    expect(calls.slice(0, 3).toSorted()).toEqual(['try a', 'try b1', 'try b2'])
    expect(calls.slice(3).toSorted()).toEqual(['confirm a', 'confirm b1', 'confirm b2'])
  })

  test('cancels all branches, the last one first, when its code throws, and throws that', async () => {
    const { coordinator, calls } = await setup()
    const error = new Error('changed my mind')
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await global.call(deposit, { account: 'b', cents: 5 })
      throw error
    })
    await expect(run).rejects.toBe(error)
    expect(calls).toEqual(['try a', 'try b', 'cancel b true', 'cancel a true'])
    const again = coordinator.globalTransaction(transfer, { id: 't-1', input }, () => expect.unreachable())
    await expect(again).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_cancelled' }))
  })

  test('a branch that is refused did nothing: the code may continue without it, or refuse all', async () => {
    const { coordinator, calls } = await setup({
      try: ({ account }) => {
        if (account === 'closed') throw new Refusal('bank.closed', 'no such account')
        return { held: 1 }
      },
    })
    const result = await coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      const refused = await global.call(deposit, { account: 'closed', cents: 5 }).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(BranchRefused)
      await global.call(deposit, { account: 'b', cents: 5 })
      return (refused as BranchRefused).code
    })
    expect(result).toBe('bank.closed')
    expect(calls).toEqual(['try closed', 'try b', 'confirm b'])
    const all = coordinator.globalTransaction(transfer, { id: 't-2', input }, async (global) => {
      await global.call(deposit, { account: 'c', cents: 5 })
      await global.call(deposit, { account: 'closed', cents: 5 })
    })
    await expect(all).rejects.toMatchObject({ code: 'bank.closed', branch: '2.deposit' })
    expect(calls.slice(3)).toEqual(['try c', 'try closed', 'cancel c true'])
    expect((await coordinator.get(transfer, 't-2').report()).failure).toMatchObject({ code: 'bank.closed' })
  })

  test('a branch that is in doubt cancels all, even if the code catches its error', async () => {
    const { coordinator, calls } = await setup({
      try: ({ account }) => {
        if (account === 'broken') throw new Error('no disk')
        return { held: 1 }
      },
    })
    let late: unknown
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await expect(global.call(deposit, { account: 'broken', cents: 5 })).rejects.toMatchObject({
        code: expect.stringMatching(/^saga\.(branch_failed|transaction_ended)$/),
      })
      late = await global.call(deposit, { account: 'b', cents: 5 }).catch((error: unknown) => error)
      return 'as if nothing had happened'
    })
    await expect(run).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_cancelled' }))
    expect(late).toMatchObject({ code: 'saga.transaction_ended' })
    expect(calls).not.toContain('try b')
    expect(calls.slice(-2)).toEqual(['cancel broken false', 'cancel a true'])
  })

  test('a call that is not awaited, and is sent late, is part of the transaction, refused or not', async () => {
    const slow = defineChannel(bankCommands.name, {
      payload: z.object({ account: z.string(), cents: z.number() }).refine(async () => {
        await new Promise((resolve) => setTimeout(resolve, 100))
        return true
      }),
    })
    const late = defineBranch('late', { to: slow })
    const lazy = defineGlobalTransaction('lazy', { input: transfer.input, branches: [late] })
    const { coordinator, calls } = await setup({}, { sagas: [lazy] })
    const result = await coordinator.globalTransaction(lazy, { id: 't-1', input }, (global) => {
      void global.call(late, { account: 'b', cents: 5 })
      return 'done'
    })
    expect(result).toBe('done')
    expect(calls).toEqual(['try b', 'confirm b'])
  })

  test('a call that is not awaited is part of the transaction', async () => {
    const { coordinator, calls } = await setup()
    await coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      void global.call(deposit, { account: 'b', cents: 5 }).catch(() => {})
      await global.call(withdraw, { account: 'a', cents: 5 })
    })
    expect(calls.toSorted()).toEqual(['confirm a', 'confirm b', 'try a', 'try b'])
  })

  test('a transaction that times out is cancelled, and its code can call nothing more', async () => {
    const hasty = defineGlobalTransaction('transfer', { input: transfer.input, branches: [withdraw], timeoutMs: 200 })
    const { sql, run, coordinator: idle } = await setup()
    await idle.close()
    const outbox = createOutbox({ sql, service: 'front', schema: run, partitions: 1 })
    const coordinator = createCoordinator({ service: 'front', sql, outbox, schema: run, sagas: [hasty], pollMs: 50 })
    closing.push(() => coordinator.close())
    await coordinator.run()
    let late: unknown
    const aborted = Promise.withResolvers<void>()
    const ended = coordinator.globalTransaction(hasty, { id: 't-1', input }, async (global) => {
      await new Promise((resolve) => global.signal.addEventListener('abort', resolve))
      late = await global.call(withdraw, { account: 'a', cents: 5 }).catch((error: unknown) => error)
      aborted.resolve()
    })
    await expect(ended).rejects.toMatchObject({
      code: 'saga.transaction_cancelled',
      failure: { code: 'saga.step_timeout' },
    })
    await aborted.promise
    expect(late).toMatchObject({ code: 'saga.transaction_ended', cause: { code: 'saga.step_timeout' } })
    expect((await coordinator.get(hasty, 't-1').report()).steps).toHaveLength(1)
  })

  test('whose participant is down is repeated until it answers', async () => {
    const { coordinator, calls, bank } = await setup()
    bank().pause()
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, (global) =>
      global.call(deposit, { account: 'b', cents: 5 }),
    )
    await until('it was sent again', async () => {
      const found = await coordinator.report({ saga: transfer.name, id: 't-1' }).catch(() => undefined)
      return (found?.steps[1]?.attempts ?? 0) > 1
    })
    bank().resume()
    expect(await run).toEqual({ held: 5 })
    expect(calls).toEqual(['try b', 'confirm b'])
  })
})

describe('when its process is gone', () => {
  test('another instance cancels undecided transactions', async () => {
    const { coordinator, coordinate, calls, sql, run } = await setup()
    const doomed = coordinate({ drainTimeoutMs: 10 })
    const gone = Promise.withResolvers<void>()
    const lost = doomed
      .globalTransaction(transfer, { id: 't-1', input }, async (global) => {
        await global.call(withdraw, { account: 'a', cents: 5 })
        gone.resolve()
        await new Promise(() => {})
      })
      .catch((error: unknown) => error)
    await gone.promise
    await doomed.close()
    await until('it is cancelled', async () => (await statusOf(sql, run, 't-1')) === 'compensated')
    expect(calls).toEqual(['try a', 'cancel a true'])
    expect(await lost).toMatchObject({ code: 'saga.closed' })
    expect((await coordinator.get(transfer, 't-1').report()).failure).toMatchObject({ code: 'saga.orphaned' })
  })

  test('a transaction whose answer another instance gets continues', async () => {
    const { coordinate, calls } = await setup()
    // This coordinator has no binder: every reply goes to the instance that has one.
    const quiet = coordinate()
    closing.push(() => quiet.close())
    await quiet.run()
    await quiet.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      expect(await global.call(withdraw, { account: 'a', cents: 7 })).toEqual({ held: 7 })
    })
    expect(calls).toEqual(['try a', 'confirm a'])
  })
})

describe('operators', () => {
  test('a transaction that cannot be cancelled rejects with the branch that it is stuck on, and with what its code threw as the cause', async () => {
    const { coordinator } = await setup({
      cancel: () => {
        throw Object.assign(new Error('no disk'), { retryable: false })
      },
    })
    const thrown = new Error('changed my mind')
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      throw thrown
    })
    await expect(run).rejects.toThrow(
      expect.objectContaining({
        code: 'saga.transaction_stuck',
        failure: { step: '1.withdraw', code: 'Error', message: 'no disk' },
        message: expect.stringContaining('is decided and stuck on Error: no disk'),
        cause: thrown,
      }),
    )
  })

  test('a decided transaction that cannot be confirmed is stuck; a retry confirms it, and never cancels it', async () => {
    let fails = true
    const { coordinator, calls } = await setup({
      confirm: () => {
        if (fails) throw new Error('no disk')
      },
    })
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
    })
    await expect(run).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_stuck' }))
    fails = false
    await coordinator.retry({ saga: transfer.name, id: 't-1' }, by)
    const again = coordinator.globalTransaction(transfer, { id: 't-1', input }, () => expect.unreachable())
    await again
    expect(calls.at(-1)).toBe('confirm a')
    expect(calls.some((call) => call.startsWith('cancel'))).toBe(false)
  })

  test('cancel a transaction whose code runs', async () => {
    const { coordinator, calls } = await setup()
    const begun = Promise.withResolvers<void>()
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      begun.resolve()
      await new Promise((_, reject) => global.signal.addEventListener('abort', () => reject(global.signal.reason)))
    })
    await begun.promise
    await coordinator.cancel({ saga: transfer.name, id: 't-1' }, by)
    await expect(run).rejects.toThrow(/cancelled: test/)
    expect(calls).toEqual(['try a', 'cancel a true'])
  })
})

describe('propagation', () => {
  test('code within a transaction joins it; its error cancels all, even when it is caught', async () => {
    const { coordinator, calls } = await setup()
    const inner = (id: string, fails: boolean) =>
      coordinator.globalTransaction(transfer, { id, input }, async (global) => {
        expect(currentGlobalTransaction()?.id).toBe('t-1')
        await global.call(deposit, { account: id, cents: 5 })
        if (fails) throw new Error('inner')
        return id
      })
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async () => {
      expect(await inner('i-1', false)).toBe('i-1')
      await inner('i-2', true).catch(() => {})
    })
    await expect(run).rejects.toThrow('inner')
    expect(calls).toEqual(['try i-1', 'try i-2', 'cancel i-2 true', 'cancel i-1 true'])
    expect(currentGlobalTransaction()).toBeUndefined()
  })

  test('a transaction of its own stands when the surrounding one is cancelled', async () => {
    const { coordinator, calls } = await setup()
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      await coordinator.globalTransaction(transfer, { id: 't-2', input, propagation: 'requires-new' }, (own) =>
        own.call(deposit, { account: 'b', cents: 5 }),
      )
      throw new Error('outer')
    })
    await expect(run).rejects.toThrow('outer')
    expect(calls).toEqual(['try a', 'try b', 'confirm b', 'cancel a true'])
  })

  test('mandatory and never are refused where they do not fit', async () => {
    const { coordinator } = await setup()
    const start = (propagation: 'mandatory' | 'never', id: string) =>
      coordinator.globalTransaction(transfer, { id, input, propagation }, () => 1)
    await expect(start('mandatory', 't-1')).rejects.toThrow(/mandatory/)
    expect(await start('never', 't-2')).toBe(1)
    const nested = coordinator.globalTransaction(transfer, { id: 't-3', input }, () => start('never', 't-4'))
    await expect(nested).rejects.toThrow(/never/)
  })
})

test('a mistake is reported before anything begins', async () => {
  const { coordinator } = await setup()
  const code = (): void => {}
  await expect(coordinator.start(transfer, { id: 't-1', input })).rejects.toThrow(/globalTransaction\(/)
  await expect(coordinator.globalTransaction(transfer, { id: '', input }, code)).rejects.toThrow(/id/)
  await expect(
    coordinator.globalTransaction(transfer, { id: 't-1', input: { cents: 'x' } as never }, code),
  ).rejects.toThrow(/cents/)
  await expect(coordinator.report({ saga: 'transfer', id: 't-1' })).rejects.toThrow(/no saga/)
  for (const patience of [{ signal: new AbortController() }, { timeoutMs: Number.NaN }, { timeoutMs: '5000' }]) {
    const [option = ''] = Object.keys(patience)
    const begun = coordinator.globalTransaction(transfer, { id: 't-1', input, ...(patience as object) }, code)
    await expect(begun).rejects.toThrow(`globalTransaction("transfer").${option}: expected`)
    await expect(coordinator.get(transfer, 't-1').outcome(patience as object)).rejects.toThrow(
      `outcome.${option}: expected`,
    )
  }
  await expect(coordinator.get(transfer, 't-1').outcome({ timeout: 1 } as object)).rejects.toThrow(/outcome.*timeout/)
  await expect(coordinator.report({ saga: 'transfer', id: 't-1' })).rejects.toThrow(/no saga/)
  const wrong = coordinator.globalTransaction(transfer, { id: 't-2', input }, (global) =>
    global.call(unlisted, { account: 'a', cents: 1 }),
  )
  await expect(wrong).rejects.toThrow(/branches/)
  expect(() => defineGlobalTransaction('x', { input: transfer.input, branches: [] })).toThrow(/branches/)
  expect(() => defineGlobalTransaction('x', { input: transfer.input, branches: [withdraw, withdraw] })).toThrow(/two/)
  expect(() => defineBranch('x', {} as never)).toThrow(/tccParticipant/)
})
