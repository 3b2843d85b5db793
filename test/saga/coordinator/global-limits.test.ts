/**
 * Limits of global transactions: what they leave behind, share with sagas, and report when they are cancelled from
 * outside.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { defineChannel } from 'concordat/binder'
import { defineSaga, Refusal } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction, type GlobalTransaction } from 'concordat/saga/global'
import { type TccHandlers } from 'concordat/saga/tcc'
import { done, given } from 'concordat/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'
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

describe('beside sagas', () => {
  const Input = z.object({})
  const opened = gate()
  const saga = defineSaga('slow', { version: 1, input: Input }).step('wait', {
    invoke: () => opened.opened,
    compensate: 'none',
  })

  test('global transactions take no slot of sagas, and leave the limits unchanged', async () => {
    const { coordinator } = await setup({}, { sagas: [transfer, saga], concurrency: 1 })
    for (let n = 0; n < 6; n++) await coordinator.globalTransaction(transfer, { id: `t-${n}`, input }, () => n)
    const runs = await Promise.all(
      Array.from({ length: 12 }, (_, n) => coordinator.start(saga, { id: `s-${n}`, input: {} })),
    )
    await until('one runs and three are in line', () => coordinator.health().inHand === 4)
    opened.open()
    for (const run of runs) expect((await run.outcome()).status).toBe('completed')
  })
})

describe('the code and its arguments', () => {
  test('is forgotten when it has ended', async () => {
    const { coordinator } = await setup()
    const runOnce = async (): Promise<WeakRef<object>> => {
      const code = (): number => 1
      await coordinator.globalTransaction(transfer, { id: 't-1', input }, code)
      return new WeakRef(code)
    }
    const code = await runOnce()
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    await until('it is collected', () => {
      collect()
      return code.deref() === undefined
    })
  })

  test('joined code returns JSON, as it would on its own', async () => {
    const { coordinator } = await setup()
    await coordinator.globalTransaction(transfer, { id: 't-1', input }, async () => {
      const inner = await coordinator.globalTransaction(transfer, { id: 'i-1', input }, () => ({ at: new Date(0) }))
      expect(inner).toEqual({ at: '1970-01-01T00:00:00.000Z' })
    })
  })

  test('a branch of another definition of that name is refused at once', async () => {
    const { coordinator, calls } = await setup()
    const fee = defineBranch('fee', { to: bankCommands })
    const newer = defineGlobalTransaction('transfer', { input: transfer.input, branches: [withdraw, deposit, fee] })
    let error: unknown
    await coordinator.globalTransaction(newer, { id: 't-1', input }, async (global) => {
      error = await global.call(fee, { account: 'f', cents: 1 }).catch((thrown: unknown) => thrown)
    })
    expect(error).toBeInstanceOf(TypeError)
    expect(calls).toEqual([])
  })
})

describe('limits', () => {
  test('a payload, a result and an answer have the size of any other', async () => {
    const huge = 'x'.repeat(3_000)
    const { coordinator, calls } = await setup({ try: () => huge }, { maxPayloadBytes: 2_000 })
    const run = (id: string, code: (global: GlobalTransaction) => unknown) =>
      coordinator.globalTransaction(transfer, { id, input }, code)
    const payload = run('payload', (global) => global.call(deposit, { account: huge, cents: 1 }))
    await expect(payload).rejects.toMatchObject({ code: 'saga.payload_too_large' })
    expect(calls, 'nothing was asked').toEqual([])
    await expect(run('result', () => huge)).rejects.toMatchObject({ failure: { code: 'saga.payload_too_large' } })
    const answer = run('answer', (global) => global.call(deposit, { account: 'a', cents: 1 }))
    await expect(answer).rejects.toMatchObject({ failure: { code: 'saga.payload_too_large' } })
    expect(calls).toEqual(['try a', 'cancel a true'])
  })

  test('code whose payload does not fit its channel gets an error, and nothing is sent', async () => {
    const { coordinator, calls } = await setup()
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, (global) =>
      global.call(deposit, { account: 5 } as never),
    )
    await expect(run).rejects.toMatchObject({ branch: '1.deposit', message: expect.stringMatching(/account/) })
    expect(calls).toEqual([])
  })

  test('a branch without await that is refused after the code has returned cancels all', async () => {
    const { coordinator, calls, bank } = await setup({
      try: ({ account }) => {
        if (account === 'late') throw new Refusal('bank.closed', 'no such account')
        return { held: 1 }
      },
    })
    const stepsOf = async () =>
      (await coordinator.report({ saga: 'transfer', id: 't-1' }).catch(() => undefined))?.steps ?? []
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 1 })
      bank().pause()
      void global.call(withdraw, { account: 'late', cents: 1 }).catch(() => {})
      await until('it is asked', async () => (await stepsOf()).length === 3)
    })
    const ended = run.catch((error: unknown) => error)
    await until('the code has returned', async () => (await stepsOf())[0]?.status === 'invoked')
    bank().resume()
    expect(await ended).toMatchObject({ failure: { code: 'bank.closed' } })
    expect(calls).toEqual(['try a', 'try late', 'cancel a true'])
  })

  test('closing waits no longer for code that never ends than for anything else', async () => {
    const { coordinator, calls, coordinate } = await setup({}, { drainTimeoutMs: 100 })
    const begun = gate()
    let reason: unknown
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(deposit, { account: 'a', cents: 1 })
      begun.open()
      await new Promise(() => global.signal.addEventListener('abort', () => (reason = global.signal.reason)))
    })
    const failed = run.catch((error: unknown) => error)
    await begun.opened
    await coordinator.close()
    expect(reason).toMatchObject({ code: 'saga.transaction_ended', cause: { code: 'saga.closed' } })
    expect(await failed).toMatchObject({ code: 'saga.closed' })
    const next = coordinate()
    closing.push(() => next.close())
    await next.run()
    await until('it is told to be cancelled', () => calls.includes('cancel a true'))
  })

  test('a release that sends a branch to another channel does not cancel an earlier one’s branch on the first', async () => {
    const { coordinator, calls, coordinate } = await setup({}, { drainTimeoutMs: 100 })
    const begun = gate()
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(deposit, { account: 'a', cents: 1 })
      begun.open()
      await new Promise(() => {})
    })
    run.catch(() => {})
    await begun.opened
    await coordinator.close()
    const moved = defineBranch('deposit', {
      to: defineChannel('new.commands', { payload: z.object({ account: z.string(), cents: z.number() }) }),
    })
    const newer = defineGlobalTransaction('transfer', { input: transfer.input, branches: [withdraw, moved] })
    const next = coordinate({ sagas: [newer] })
    closing.push(() => next.close())
    await next.run()
    const outcome = await next.get(newer, 't-1').outcome()
    expect(outcome).toMatchObject({ status: 'stuck', failure: { code: 'saga.orphaned' } })
    expect(outcome.timeline.at(-1)?.detail?.['message']).toMatch(
      /"deposit" to "new.commands", and it was sent to "bank.commands"/,
    )
    await next.close()
    const fixed = coordinate()
    closing.push(() => fixed.close())
    await fixed.run()
    await fixed.retry({ saga: 'transfer', id: 't-1' }, { by: 'ann', reason: 'the branch is back' })
    expect((await fixed.get(transfer, 't-1').outcome()).status).toBe('compensated')
    expect(calls).toEqual(['try a', 'cancel a true'])
  })

  test('code that ends while its coordinator closes is heard', async () => {
    const { coordinator, calls } = await setup()
    const [begun, closes] = [gate(), gate()]
    const run = coordinator
      .globalTransaction(transfer, { id: 't-1', input }, async (global) => {
        await global.call(deposit, { account: 'a', cents: 1 })
        begun.open()
        await closes.opened
        await global.call(deposit, { account: 'b', cents: 1 })
        return 'done'
      })
      .catch((error: unknown) => error)
    await begun.opened
    const closed = coordinator.close()
    closes.open()
    await closed
    await run
    await until('both are confirmed', () => calls.filter((call) => call.startsWith('confirm')).length === 2)
    expect(calls.filter((call) => call.startsWith('cancel'))).toEqual([])
  })

  test('a transaction of its own with the id of a surrounding one would wait for itself', async () => {
    const { coordinator } = await setup()
    const propagation = 'requires-new'
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, () =>
      coordinator.globalTransaction(transfer, { id: 't-2', input, propagation }, () =>
        coordinator.globalTransaction(transfer, { id: 't-1', input, propagation }, () => expect.unreachable()),
      ),
    )
    await expect(run).rejects.toThrow(TypeError)
  })

  test('a global transaction is no step of a saga, since only its process has its code', () => {
    const saga = defineSaga('outer', { version: 1, input: z.object({}) })
    expect(() => saga.saga('inner', { saga: transfer as never, input: () => input, compensate: 'none' })).toThrow(
      /code no other process has/,
    )
  })

  test('`given` describes one run of a global transaction', () => {
    const story = given(transfer, { type: 'branched', step: '1.deposit', branch: 'deposit' }, done('1.deposit'))
    expect(story.status).toBe('running')
    const decided = story.when(done('code'))
    expect(decided.steps).toEqual({ code: 'invoked', '1.deposit': 'confirming' })
    expect(decided.when(done('1.deposit', undefined, 'confirm')).status).toBe('completed')
  })
})

describe('the end of one that was cancelled from outside', () => {
  test('is reported as that, with the code’s own error as its cause', async () => {
    const { coordinator } = await setup()
    const begun = gate()
    let seen: unknown
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      begun.open()
      await new Promise((resolve) => global.signal.addEventListener('abort', resolve))
      seen = global.signal.reason
      throw await global.call(withdraw, { account: 'b', cents: 5 }).catch((error: unknown) => error)
    })
    await begun.opened
    await coordinator.cancel({ saga: 'transfer', id: 't-1' }, { by: 'ann', reason: 'fraud' })
    const error = await run.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'saga.transaction_cancelled' })
    expect(error).toMatchObject({ failure: { code: 'saga.cancelled', message: 'fraud' } })
    expect((error as Error).cause).toMatchObject({ code: 'saga.transaction_ended' })
    expect(seen).toMatchObject({ code: 'saga.transaction_ended' })
  })

  test('a lost lease leaks no error of the coordinator', async () => {
    const { coordinator, sql, run: schema } = await setup({}, { leaseMs: 300 })
    const begun = gate()
    const run = coordinator.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
      await global.call(withdraw, { account: 'a', cents: 5 })
      begun.open()
      await new Promise((_, reject) => global.signal.addEventListener('abort', () => reject(global.signal.reason)))
    })
    await begun.opened
    await sql.query(`UPDATE ${schema}.saga SET owner = 'somebody', epoch = epoch + 1, due_at = now() WHERE id = 't-1'`)
    const error = await run.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'saga.transaction_cancelled', failure: { code: 'saga.orphaned' } })
    expect((error as Error).cause).toMatchObject({ code: 'saga.transaction_ended' })
  })

  test('code that is asleep while its id is given to another transaction adds nothing to that one', async () => {
    const { coordinator, coordinate, calls, sql, run: schema } = await setup()
    const [begun, wakes] = [gate(), gate()]
    let late: unknown
    const sleeper = coordinate({ leaseMs: 60_000 })
    closing.push(() => sleeper.close())
    await sleeper.run()
    const first = sleeper
      .globalTransaction(transfer, { id: 't-1', input }, async (global) => {
        begun.open()
        await wakes.opened
        late = await global.call(withdraw, { account: 'of the first', cents: 5 }).catch((error: unknown) => error)
      })
      .catch(() => {})
    await begun.opened
    await sql.query(`UPDATE ${schema}.saga SET owner = 'nobody', due_at = now(), epoch = epoch + 1 WHERE id = 't-1'`)
    await coordinator.get(transfer, 't-1').outcome()
    expect(await coordinator.purge({ olderThanMs: 0 })).toBe(1)
    const { steps } = await coordinator
      .globalTransaction(transfer, { id: 't-1', input }, async (global) => {
        await global.call(withdraw, { account: 'of the second', cents: 5 })
        wakes.open()
        await until('the first has called', () => late !== undefined)
      })
      .then(() => coordinator.get(transfer, 't-1').report())
    expect(late).toMatchObject({ code: 'saga.transaction_ended' })
    expect(calls).toEqual(['try of the second', 'confirm of the second'])
    expect(steps.map(({ step }) => step)).toEqual(['code', '1.withdraw'])
    await first
  })
})
