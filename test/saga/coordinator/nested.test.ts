/** Sagas within sagas within sagas: steps that are kept or undone, and actions left to an operator. */
import { defineSaga, Refusal } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'

const Nothing = z.object({})
const within = { timeoutMs: 10_000 }
const note = { by: 'ann', reason: 'rang up' }
const setup = runningWorlds()
const [MID, LEAF] = ['top/x/m', 'mid/top/x/m/l']

/** `top` has a `mid` that has a `leaf` that books; once `mid` is done, `top` waits for a signal. */
function threeLevels(transactional = false) {
  const effects: string[] = []
  const bank = { open: true }
  const leaf = defineSaga('leaf', { version: 1, input: Nothing }).step('book', {
    transactional,
    invoke: () => void effects.push('book'),
    compensationRetry: { maxAttempts: 1 },
    compensate: () => {
      if (!bank.open) throw new Error('the bank is closed')
      effects.push('unbook')
    },
  })
  const mid = defineSaga('mid', { version: 1, input: Nothing }).saga('l', {
    saga: leaf,
    input: () => ({}),
    compensate: true,
  })
  const top = defineSaga('top', { version: 1, input: Nothing })
    .saga('m', { saga: mid, input: () => ({}), compensate: true })
    .signal('go', { payload: z.unknown() })
  return { effects, bank, leaf, mid, top }
}

const statusOf = async (coordinator: Coordinator, saga: string, id: string): Promise<string> =>
  (await coordinator.report({ saga, id })).status
const becomes = (coordinator: Coordinator, saga: string, id: string, status: string): Promise<void> =>
  expect.poll(() => statusOf(coordinator, saga, id).catch(() => 'missing'), { timeout: 10_000 }).toBe(status)

describe('a saga within a saga within a saga', () => {
  test('is kept while the outermost one can still undo it, and is undone', async () => {
    const { top, effects } = threeLevels()
    const { coordinator } = await setup({ sagas: [top] })
    const run = await coordinator.start(top, { id: 'x', input: {} })
    await becomes(coordinator, 'mid', MID, 'completed')
    expect(await coordinator.purge({ olderThanMs: 0 })).toBe(0)
    await coordinator.cancel(run, note)
    expect((await run.outcome(within)).status).toBe('compensated')
    expect(effects).toEqual(['book', 'unbook'])
    expect(await statusOf(coordinator, 'leaf', LEAF)).toBe('compensated')
    expect(await coordinator.purge({ olderThanMs: 0 })).toBe(3)
  })

  test('a forgotten inner saga that was done does not count as undone: the outer one is stuck with the reason', async () => {
    const { top } = threeLevels()
    const { coordinator, sql, schema } = await setup({ sagas: [top] })
    const run = await coordinator.start(top, { id: 'x', input: {} })
    await becomes(coordinator, 'mid', MID, 'completed')
    await sql.query(`DELETE FROM ${schema}.saga WHERE name = 'leaf'`)
    await coordinator.cancel(run, note)
    await becomes(coordinator, 'mid', MID, 'stuck')
    expect((await coordinator.report({ saga: 'mid', id: MID })).steps[0]?.error).toMatchObject({
      code: 'saga.child_missing',
      message: expect.stringContaining(`leaf/${LEAF}`),
    })
    await coordinator.skip({ saga: 'mid', id: MID }, note)
    expect((await run.outcome(within)).status).toBe('compensated')
  })
})

describe.each([false, true])(
  'a saga resolved as completed while it was undone (transactional: %s)',
  (transactional) => {
    test('is undone when the operator of the outer saga retries', async () => {
      const { mid, bank, effects } = threeLevels(transactional)
      const top = defineSaga('top', { version: 1, input: Nothing })
        .saga('m', { saga: mid, input: () => ({}), compensate: true })
        .signal('go', { payload: z.unknown() })
      const { coordinator } = await setup({ sagas: [top] })
      const run = await coordinator.start(top, { id: 'x', input: {} })
      await becomes(coordinator, 'mid', MID, 'completed')
      bank.open = false
      await coordinator.cancel(run, note)
      await becomes(coordinator, 'leaf', LEAF, 'stuck')
      await coordinator.resolve({ saga: 'leaf', id: LEAF }, { ...note, outcome: 'completed' })
      await becomes(coordinator, 'mid', MID, 'stuck')
      // A retry before the fix makes the saga stuck again.
      await coordinator.retry({ saga: 'mid', id: MID }, note)
      await becomes(coordinator, 'leaf', LEAF, 'stuck')
      bank.open = true
      await coordinator.retry({ saga: 'leaf', id: LEAF }, note)
      expect((await run.outcome(within)).status).toBe('compensated')
      expect(effects).toEqual(['book', 'unbook'])
    })

    test('an inner saga that ended by itself is undone when the outer one turns back later', async () => {
      const effects: string[] = []
      const bank = { open: false }
      const inner = defineSaga('inner', { version: 1, input: Nothing })
        .step('book', {
          transactional,
          invoke: () => void effects.push('book'),
          compensationRetry: { maxAttempts: 1 },
          compensate: () => {
            if (!bank.open) throw new Error('the bank is closed')
            effects.push('unbook')
          },
        })
        .signal('never', { payload: z.unknown(), timeoutMs: 20 })
      const outer = defineSaga('outer', { version: 1, input: Nothing })
        .saga('i', { saga: inner, input: () => ({}), compensate: true })
        .signal('go', { payload: z.unknown() })
      const { coordinator } = await setup({ sagas: [outer] })
      const run = await coordinator.start(outer, { id: 'x', input: {} })
      const target = { saga: 'inner', id: 'outer/x/i' }
      await becomes(coordinator, target.saga, target.id, 'stuck')
      await coordinator.resolve(target, { ...note, outcome: 'completed' })
      await expect.poll(async () => (await run.report()).steps[0]?.status, { timeout: 10_000 }).toBe('invoked')
      bank.open = true
      await coordinator.cancel(run, note)
      expect((await run.outcome(within)).status).toBe('compensated')
      expect(effects).toEqual(['book', 'unbook'])
    })
  },
)

describe('an operator’s order that no longer applies', () => {
  test('is forgotten: the ended saga is not taken again and again', async () => {
    const { top } = threeLevels()
    const { coordinator, sql, schema } = await setup({ sagas: [top], coordinator: { leaseMs: 200 } })
    await coordinator.start(top, { id: 'x', input: {} })
    await becomes(coordinator, 'mid', MID, 'completed')
    await sql.query(
      `UPDATE ${schema}.saga SET mail = '[{"signal":"nobody","payload":1}]', due_at = now() WHERE name = 'leaf'`,
    )
    const rest = `SELECT owner, due_at, mail FROM ${schema}.saga WHERE name = 'leaf'`
    await expect
      .poll(async () => (await sql.query(rest)).rows[0], { timeout: 10_000 })
      .toEqual({ owner: null, due_at: null, mail: null })
  })
})

describe('a saga whose id as a step is taken', () => {
  test('by a stranger is refused, and the stranger is not touched', async () => {
    const { leaf, mid, effects } = threeLevels()
    const { coordinator } = await setup({ sagas: [leaf, mid] })
    const stranger = await coordinator.start(leaf, { id: 'mid/x/l', input: {} })
    await stranger.outcome(within)
    const run = await coordinator.start(mid, { id: 'x', input: {} })
    expect(await run.outcome(within)).toMatchObject({
      status: 'compensated',
      failure: { step: 'l', code: 'saga.conflict', message: expect.stringContaining('leaf/mid/x/l') },
    })
    expect((await stranger.report()).status).toBe('completed')
    expect(effects).toEqual(['book'])
  })

  test('by that of an earlier saga with the same id, which still runs, is refused; its end does not count for the new one', async () => {
    const child = defineSaga('child', { version: 1, input: Nothing }).signal('go', { payload: z.string() })
    const parent = defineSaga('parent', { version: 1, input: Nothing })
      .saga('c', { saga: child, input: () => ({}), compensate: 'none' })
      .signal('end', { payload: z.unknown() })
    const { coordinator } = await setup({ sagas: [parent] })
    const first = await coordinator.start(parent, { id: 'x', input: {} })
    await becomes(coordinator, 'child', 'parent/x/c', 'running')
    await coordinator.cancel(first, note)
    await first.outcome(within)
    expect(await coordinator.purge({ olderThanMs: 0 })).toBe(1)
    const second = await coordinator.start(parent, { id: 'x', input: {} })
    expect(await second.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'saga.conflict' } })
    expect(await coordinator.purge({ olderThanMs: 0 })).toBe(1)
    const third = await coordinator.start(parent, { id: 'x', input: {} })
    expect(await coordinator.signal(child, 'parent/x/c', 'go', 'old')).toBe(true)
    await becomes(coordinator, 'child', 'parent/x/c', 'completed')
    expect(await third.outcome(within)).toMatchObject({ status: 'compensated', results: {} })
  })
})

test('a sub-saga that an operator has retried and that is refused again leaves the saga stuck, which waits for no report', async () => {
  const child = defineSaga('ship', { version: 1, input: Nothing }).step('load', {
    invoke: () => {
      throw new Refusal('ship.full', 'no room')
    },
    compensate: 'none',
  })
  const saga = defineSaga('parent', { version: 1, input: Nothing })
    .step('pay', { invoke: () => undefined, pivot: true })
    .saga('ship', { saga: child, input: () => ({}) })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect((await run.outcome(within)).status).toBe('stuck')
  await coordinator.retry(run, note)
  const again = await run.outcome({ timeoutMs: 5_000 })
  expect(again).toMatchObject({ status: 'stuck', failure: { step: 'ship', code: 'ship.full' } })
  expect(again.timeline.filter(({ kind }) => kind === 'stuck')).toHaveLength(2)
})
