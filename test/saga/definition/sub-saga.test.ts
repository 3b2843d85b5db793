import { defineSaga, Refusal } from 'concordat/saga'
import { explore } from 'concordat/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'

const Input = z.object({ fails: z.enum(['child', 'parent']).optional() })
const within = { timeoutMs: 15_000 }
const setup = runningWorlds()

function shipping(leave: Promise<void> = Promise.resolve()) {
  const calls: string[] = []
  const entered = gate()
  const ship = defineSaga('ship', { version: 1, input: z.object({ what: z.string(), fails: z.boolean() }) })
    .step('pack', {
      invoke: ({ input }) => void calls.push(`pack ${input.what}`),
      compensate: ({ input }) => void calls.push(`unpack ${input.what}`),
    })
    .step('send', {
      invoke: async ({ input }) => {
        entered.open()
        await leave
        if (input.fails) throw new Refusal('ship.strike', 'nobody drives')
        calls.push('send')
        return 'parcel 7'
      },
      compensate: () => void calls.push('call back'),
    })
  const order = defineSaga('order', { version: 1, input: Input })
    .step('open', { invoke: () => void calls.push('open'), compensate: () => void calls.push('close') })
    .saga('shipment', {
      saga: ship,
      input: ({ input, sagaId }) => ({ what: sagaId, fails: input.fails === 'child' }),
      compensate: true,
    })
    .step('end', {
      invoke: ({ input, results }) => {
        if (input.fails === 'parent') throw new Refusal('order.no', 'no')
        return results.shipment.send
      },
      compensate: 'none',
    })
  return { order, ship, calls, entered }
}

test('a sub-saga is done when the other saga has completed, with its results', async () => {
  const { order, ship, calls } = shipping()
  const { coordinator } = await setup({ sagas: [order] })
  const run = await coordinator.start(order, { id: 'o-1', input: {} })
  expect((await run.outcome(within)).results).toMatchObject({ shipment: { send: 'parcel 7' }, end: 'parcel 7' })
  expect(calls).toEqual(['open', 'pack o-1', 'send'])
  const child = coordinator.get(ship, 'order/o-1/shipment')
  expect(await child.report()).toMatchObject({ status: 'completed', version: 1 })
})

test('a compensated sub-saga turns the outer one back, which has nothing to undo of it', async () => {
  const { order, calls } = shipping()
  const { coordinator } = await setup({ sagas: [order] })
  const run = await coordinator.start(order, { id: 'o-1', input: { fails: 'child' } })
  expect(await run.outcome(within)).toMatchObject({
    status: 'compensated',
    failure: { step: 'shipment', code: 'ship.strike', message: 'nobody drives' },
  })
  expect(calls).toEqual(['open', 'pack o-1', 'unpack o-1', 'close'])
})

test('a completed sub-saga is undone when the outer one turns back', async () => {
  const { order, ship, calls } = shipping()
  const { coordinator } = await setup({ sagas: [order] })
  const run = await coordinator.start(order, { id: 'o-1', input: { fails: 'parent' } })
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'order.no' } })
  expect(calls).toEqual(['open', 'pack o-1', 'send', 'call back', 'unpack o-1', 'close'])
  const child = await coordinator.get(ship, 'order/o-1/shipment').report()
  expect(child).toMatchObject({ status: 'compensated', failure: { code: 'saga.undone' } })
  expect(child.timeline.map(({ kind }) => kind)).toContain('undo')
})

test('a sub-saga that runs when the outer one is cancelled is cancelled too, and the outer one waits for that', async () => {
  const leave = gate()
  const { order, calls, entered } = shipping(leave.opened)
  const { coordinator } = await setup({ sagas: [order] })
  const run = await coordinator.start(order, { id: 'o-1', input: {} })
  await entered.opened
  await coordinator.cancel(run, { by: 'ann', reason: 'rang up' })
  await expect
    .poll(async () => (await run.report()).steps.find(({ step }) => step === 'shipment')?.status, { timeout: 10_000 })
    .toBe('compensating')
  leave.open()
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'saga.cancelled' } })
  expect(calls).toEqual(['open', 'pack o-1', 'send', 'call back', 'unpack o-1', 'close'])
})

test('a sub-saga that never reported success and is gone has nothing to undo', async () => {
  const child = defineSaga('child', { version: 1, input: z.object({}) }).signal('never', { payload: z.unknown() })
  const outer = defineSaga('outer', { version: 1, input: z.object({}) }).saga('first', {
    saga: child,
    input: () => ({}),
    compensate: true,
  })
  const { coordinator, sql, schema } = await setup({ sagas: [outer] })
  const run = await coordinator.start(outer, { id: 'x', input: {} })
  await sql.query(`DELETE FROM ${schema}.saga WHERE name = 'child'`)
  await coordinator.cancel(run, { by: 'ann', reason: 'rang up' })
  expect((await run.outcome(within)).status).toBe('compensated')
})

test('a sub-saga is kept until the outer one has ended', async () => {
  const leave = gate()
  const child = defineSaga('child', { version: 1, input: z.object({}) }).step('a', {
    invoke: () => 1,
    compensate: 'none',
  })
  const outer = defineSaga('outer', { version: 1, input: z.object({}) })
    .saga('first', { saga: child, input: () => ({}), compensate: true })
    .step('slow', { invoke: () => leave.opened, compensate: 'none' })
  const { coordinator } = await setup({ sagas: [outer] })
  const run = await coordinator.start(outer, { id: 'x', input: {} })
  await expect.poll(async () => (await run.report()).steps[1]?.status, { timeout: 10_000 }).toBe('invoking')
  expect(await coordinator.purge({ olderThanMs: 0 })).toBe(0)
  leave.open()
  await run.outcome(within)
  expect(await coordinator.purge({ olderThanMs: 0 })).toBe(2)
})

test('a sub-saga may stand in a group and within another, and has no bad end under any fault', async () => {
  const calls: string[] = []
  const leaf = (name: string) =>
    defineSaga(name, { version: 1, input: z.object({}) }).step('do', {
      invoke: () => void calls.push(name),
      compensate: () => void calls.push(`undo ${name}`),
    })
  const middle = defineSaga('middle', { version: 1, input: z.object({}) }).parallel((group) =>
    group
      .saga('left', { saga: leaf('left'), input: () => ({}), compensate: true })
      .saga('right', { saga: leaf('right'), input: () => ({}), compensate: true }),
  )
  const top = defineSaga('top', { version: 1, input: z.object({ ok: z.boolean() }) })
    .saga('middle', { saga: middle, input: () => ({}), compensate: true })
    .step('end', {
      invoke: ({ input }) => {
        if (!input.ok) throw new Refusal('no', 'no')
      },
      compensate: 'none',
    })
  const { coordinator } = await setup({ sagas: [top] })
  const good = await coordinator.start(top, { id: 'good', input: { ok: true } })
  expect((await good.outcome(within)).status).toBe('completed')
  expect(calls.toSorted()).toEqual(['left', 'right'])
  const bad = await coordinator.start(top, { id: 'bad', input: { ok: false } })
  expect((await bad.outcome(within)).status).toBe('compensated')
  expect(calls.toSorted()).toEqual(['left', 'left', 'right', 'right', 'undo left', 'undo right'])
  expect(explore(top).problems).toEqual([])
})

test('an input that does not fit the other saga turns the outer one back before it', async () => {
  const { ship } = shipping()
  const outer = defineSaga('outer', { version: 1, input: z.object({}) }).saga('shipment', {
    saga: ship,
    input: () => ({ what: 7 }) as never,
    compensate: true,
  })
  const { coordinator } = await setup({ sagas: [outer] })
  const run = await coordinator.start(outer, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({
    status: 'compensated',
    failure: { step: 'shipment', code: 'core.schema' },
  })
})
