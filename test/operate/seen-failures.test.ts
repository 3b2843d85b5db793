// oxlint-disable no-restricted-imports -- inside of the command line: an action that is confirmed late
/** An operator decides on one failure of a saga: the action applies to that one, and once. */

import { createOperator, type SagaAdmin } from '@concordat/cli'
import type { SqlClient } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Invocation } from '../../packages/cli/commands/command.ts'
import { SAGA_ACTION_COMMANDS } from '../../packages/cli/commands/saga-actions.ts'
import { runningWorlds } from '../saga/support/running-world.ts'
import { gate, until } from '../support/until.ts'

const setup = runningWorlds()
const target = { saga: 'rent', id: 'r-1' }
const ann = { by: 'ann', reason: 'the bank says that it never came' }
const bob = { by: 'bob', reason: 'the bank is open again' }

/** A saga whose pivot fails each time, so that it is stuck on it. */
async function stuckWorld() {
  const calls: string[] = []
  const gates: Array<() => Promise<void>> = []
  const saga = defineSaga('rent', { version: 1, input: z.object({}) })
    .step('hold', { invoke: () => void calls.push('hold'), compensate: () => void calls.push('undo hold') })
    .step('pay', {
      pivot: true,
      retry: { maxAttempts: 1 },
      invoke: async () => {
        calls.push('pay')
        await gates.shift()?.()
        throw new Error(`no answer to call ${calls.filter((call) => call === 'pay').length}`)
      },
    })
  const world = await setup({ sagas: [saga] })
  const run = await world.coordinator.start(saga, { id: 'r-1', input: {} })
  expect((await run.outcome()).status).toBe('stuck')
  const { sagas } = createOperator({ sql: world.sql, schema: world.outbox.schema })
  return { ...world, saga, sagas, calls, gates }
}

/** Leaves no mail before `ready` resolves: what the operator saw has changed by then. */
function pausedBeforePost(sql: SqlClient, ready: Promise<void>): SqlClient {
  return {
    ...sql,
    query: async (text, parameters) => {
      if (/UPDATE .* SET mail = coalesce/.test(text)) await ready
      return sql.query(text, parameters)
    },
  }
}

type Note = { readonly by: string; readonly reason: string; readonly timesStuck?: number; readonly step?: string }

const ACTIONS: Readonly<Record<string, (sagas: SagaAdmin, note: Note) => Promise<unknown>>> = {
  retry: (sagas, note) => sagas.retry(target, note),
  skip: (sagas, note) => sagas.skip(target, note),
  compensate: (sagas, note) => sagas.compensate(target, note),
  'resolve as completed': (sagas, note) => sagas.resolve(target, { ...note, outcome: 'completed' }),
  'resolve as compensated': (sagas, note) => sagas.resolve(target, { ...note, outcome: 'compensated' }),
}

const isStuckAgain = (sagas: SagaAdmin) => async () => {
  const { timeline, pending } = await sagas.show(target)
  return pending.length === 0 && timeline.filter(({ kind }) => kind === 'stuck').length === 2
}

describe.each(Object.keys(ACTIONS))('%s', (name) => {
  const act = ACTIONS[name] as (typeof ACTIONS)[string]

  test('is refused when a retry of another operator has failed since the saga was looked at', async () => {
    const { sagas, calls } = await stuckWorld()
    const { timesStuck, steps } = await sagas.show(target)
    const step = steps.find(({ wait }) => wait === 'operator')?.step
    expect(timesStuck).toBe(1)
    await sagas.retry(target, bob)
    await until('it is stuck again', isStuckAgain(sagas))
    expect(await sagas.show(target)).toMatchObject({ status: 'stuck', timesStuck: 2, failure: { step } })
    await expect(act(sagas, { ...ann, timesStuck, ...(step !== undefined && { step }) })).rejects.toMatchObject({
      code: 'saga.action_refused',
      message: expect.stringContaining('not applied, the saga has changed') as string,
    })
    expect((await sagas.show(target)).status).toBe('stuck')
    expect(calls).toEqual(['hold', 'pay', 'pay'])
    expect(await act(sagas, { ...ann, timesStuck: 2 })).toMatchObject({ outcome: 'applied' })
  })
})

test.each(['skip', 'compensate', 'retry'] as const)(
  'a %s that comes into the row while the retry of another operator is running is refused when that has failed, too',
  async (action) => {
    const { sagas, calls, sql, outbox, coordinator, gates } = await stuckWorld()
    const [entered, leave] = [gate(), gate()]
    gates.push(async () => {
      entered.open()
      await leave.opened
    })
    const late = createOperator({ sql: pausedBeforePost(sql, entered.opened), schema: outbox.schema })
    const asked = late.sagas[action](target, { ...ann, waitMs: 0 })
    await coordinator.retry(target, bob)
    expect(await asked).toMatchObject({ outcome: 'waiting' })
    leave.open()
    await until('it is stuck again', isStuckAgain(sagas))
    const { timeline, status } = await sagas.show(target)
    expect(status).toBe('stuck')
    expect(timeline.findLast(({ kind }) => kind === 'operator-refused')?.detail).toMatchObject({
      ...ann,
      action,
      why: expect.stringContaining('the saga has changed') as string,
    })
    expect(calls).toEqual(['hold', 'pay', 'pay'])
  },
)

test('a skip that is confirmed after the retry of another operator has failed, too, is refused', async () => {
  const { sagas, calls } = await stuckWorld()
  const confirm = async (): Promise<boolean> => {
    await sagas.retry(target, bob)
    await until('it is stuck again', isStuckAgain(sagas))
    return true
  }
  const skip = SAGA_ACTION_COMMANDS.find(({ name }) => name === 'saga skip')
  const asked = {
    positionals: ['rent/r-1'],
    values: ann,
    env: {},
    user: 'ann',
    operator: async () => ({ sagas }),
    confirm,
  }
  await expect(skip?.run(asked as unknown as Invocation)).rejects.toMatchObject({
    code: 'saga.action_refused',
    message: expect.stringContaining('the saga has changed') as string,
  })
  expect((await sagas.show(target)).status).toBe('stuck')
  expect(calls).toEqual(['hold', 'pay', 'pay'])
})

test('a resolve that is written while the retry of another operator is running is refused when that has failed, too', async () => {
  const { sagas, calls, sql, outbox, coordinator } = await stuckWorld()
  const [read, go] = [gate(), gate()]
  const late = createOperator({
    sql: {
      ...sql,
      // The operator has read the saga, and not written its end.
      transaction: async (work) => {
        read.open()
        await go.opened
        return sql.transaction(work)
      },
    },
    schema: outbox.schema,
  })
  const asked = late.sagas.resolve(target, { ...ann, outcome: 'completed' }).catch((error: unknown) => error)
  await read.opened
  await coordinator.retry(target, bob)
  await until('it is stuck again', isStuckAgain(sagas))
  go.open()
  expect(await asked).toMatchObject({
    code: 'saga.action_refused',
    message: expect.stringContaining('the saga has changed') as string,
  })
  expect((await sagas.show(target)).status).toBe('stuck')
  expect(calls).toEqual(['hold', 'pay', 'pay'])
})

describe('of two equal actions of one person at the same time, one is applied and the other says that it changed nothing', () => {
  const outcomes = async (acts: ReadonlyArray<Promise<unknown>>): Promise<readonly string[]> => {
    const results = await Promise.allSettled(acts)
    return results
      .map((result) => (result.status === 'fulfilled' ? 'applied' : (result.reason as { code: string }).code))
      .toSorted()
  }

  test.each(['retry', 'skip', 'compensate'] as const)('%s', async (action) => {
    const { sagas, coordinator, another } = await stuckWorld()
    await coordinator.close()
    const acts = [1, 2].map(() => sagas[action](target, { ...ann, waitMs: 20_000 }))
    await until('both have asked', async () => (await sagas.list()).sagas[0]?.pendingActions !== 0)
    const next = another()
    await next.run()
    expect(await outcomes(acts)).toEqual(['applied', 'saga.action_refused'])
    const { timeline } = await sagas.show(target)
    expect(timeline.filter(({ kind }) => kind === `operator-${action}`)).toHaveLength(1)
    await next.close()
  })

  test('cancel, while the call is running after which the saga turns back', async () => {
    const [entered, leave] = [gate(), gate()]
    const saga = defineSaga('rent', { version: 1, input: z.object({}) })
      .step('hold', {
        invoke: async () => {
          entered.open()
          await leave.opened
        },
        compensate: () => undefined,
      })
      .signal('go', { payload: z.object({}) })
    const { coordinator, sql, outbox } = await setup({ sagas: [saga] })
    const { sagas } = createOperator({ sql, schema: outbox.schema })
    const run = await coordinator.start(saga, { id: 'r-1', input: {} })
    await entered.opened
    await coordinator.cancel(target, ann)
    await expect(coordinator.cancel(target, ann)).rejects.toMatchObject({
      code: 'saga.action_refused',
      message: expect.stringContaining('it is turning back already, so this changed nothing') as string,
    })
    const second = sagas.cancel(target, { ...ann, waitMs: 20_000 })
    leave.open()
    await expect(second).rejects.toMatchObject({ code: 'saga.action_refused' })
    expect((await run.outcome()).status).toBe('compensated')
    expect((await run.report()).timeline.filter(({ kind }) => kind === 'operator-cancel')).toHaveLength(1)
  })
})
