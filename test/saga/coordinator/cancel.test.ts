import { defineSaga, type Saga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const Input = z.object({ n: z.number() })
const input = { n: 1 }
const note = { by: 'ann', reason: 'customer rang up' }
const setup = runningWorlds()

/** Two local steps; the first waits until it is let go. */
function twoSteps(deadlineMs?: number) {
  const [entered, leave] = [gate(), gate()]
  const calls: string[] = []
  const saga = defineSaga('two', { version: 1, input: Input, deadlineMs })
    .step('a', {
      invoke: async () => {
        calls.push('a')
        entered.open()
        await leave.opened
      },
      compensate: () => void calls.push('undo a'),
    })
    .step('b', { invoke: () => void calls.push('b'), compensate: () => void calls.push('undo b') })
  return { saga, calls, entered, leave }
}

const remote = (deadlineMs?: number) =>
  defineSaga('remote', { version: 1, input: Input, deadlineMs })
    .command('take', {
      to: stockCommands,
      request: () => ({ sku: 's', n: 1 }),
      compensate: true,
      timeoutMs: 60_000,
    })
    .step('end', { invoke: () => undefined, pivot: true })

describe('cancel', () => {
  test('lets a local step finish and undoes it, on any instance', async () => {
    const { saga, calls, entered, leave } = twoSteps()
    const { coordinator, events, another } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await entered.opened
    await another().cancel(run, note)
    leave.open()
    const outcome = await run.outcome({ timeoutMs: 10_000 })
    expect(outcome).toMatchObject({
      status: 'compensated',
      failure: { step: 'a', code: 'saga.cancelled', message: 'customer rang up' },
    })
    expect(calls.filter((call) => call !== 'a')).toEqual(['undo a'])
    expect(await events('two', 'x')).toContain('operator-cancel a')
    expect(outcome.timeline.find(({ kind }) => kind === 'operator-cancel')?.detail).toEqual(note)
  })

  test('is refused when the end of its time comes first, for that turns it back', async () => {
    const saga = remote(60_000)
    const { coordinator, sql, schema, another, stock } = await setup({ sagas: [saga] })
    stock().pause()
    const run = await coordinator.start(saga, { id: 'x', input })
    await coordinator.close()
    await sql.query(`UPDATE ${schema}.saga SET deadline_at = now() - interval '1 second'`)
    const late = another()
    const told = late.cancel(run, note)
    await expect(told).rejects.toMatchObject({
      code: 'saga.action_refused',
      message: expect.stringMatching('compensating'),
    })
    const { timeline } = await late.report(run)
    expect(timeline.map(({ kind }) => kind)).toContain('expired')
    expect(timeline.map(({ kind }) => kind)).not.toContain('operator-cancel')
    await late.close()
  })

  test('does not wait for a missing reply, and a late one has no effect', async () => {
    const done: string[] = []
    const saga = remote()
    const { coordinator, stock } = await setup({
      sagas: [saga],
      handlers: { invoke: () => void done.push('took'), compensate: () => void done.push('gave back') },
    })
    stock().pause()
    const run = await coordinator.start(saga, { id: 'x', input })
    await coordinator.cancel(run, note)
    stock().resume()
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('compensated')
    expect([[], ['took', 'gave back']]).toContainEqual(done)
  })

  test('is refused when the saga has ended, with its state in the error', async () => {
    const { saga, entered, leave } = twoSteps()
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await entered.opened
    leave.open()
    await run.outcome({ timeoutMs: 10_000 })
    await expect(coordinator.cancel(run, note)).rejects.toMatchObject({
      code: 'saga.action_refused',
      message: expect.stringContaining('saga two/x refused "cancel": it is completed'),
    })
    await expect(coordinator.cancel({ saga: 'two', id: 'nobody' }, note)).rejects.toMatchObject({
      code: 'saga.not_found',
    })
  })
})

describe('a deadline', () => {
  test('turns a saga back that waits for a reply', async () => {
    const saga = remote(300)
    const { coordinator, stock } = await setup({ sagas: [saga], handlers: { invoke: () => {}, compensate: () => {} } })
    stock().pause()
    const run = await coordinator.start(saga, { id: 'x', input })
    await expect.poll(async () => (await run.report()).status, { timeout: 10_000 }).toBe('compensating')
    stock().resume()
    const { status, ...more } = await run.outcome({ timeoutMs: 10_000 })
    expect([status, 'failure' in more && more.failure.code]).toEqual(['compensated', 'saga.deadline'])
  })

  test('is seen between local steps, also by a coordinator that read the saga from the database', async () => {
    const { saga, calls, entered, leave } = twoSteps(200)
    const { coordinator, sql, schema } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await entered.opened
    await expect
      .poll(
        async () => (await sql.query(`SELECT 1 FROM ${schema}.saga WHERE deadline_at < clock_timestamp()`)).rowCount,
      )
      .toBe(1)
    leave.open()
    const outcome = await run.outcome({ timeoutMs: 10_000 })
    expect(outcome).toMatchObject({ status: 'compensated', failure: { step: 'a', code: 'saga.deadline' } })
    expect(calls).toEqual(['a', 'undo a'])
  })

  test('has no effect once the pivot is begun', async () => {
    const leave = gate()
    const saga = defineSaga('pivot', { version: 1, input: Input, deadlineMs: 50 })
      .step('p', { invoke: () => leave.opened, pivot: true, retry: FAST })
      .step('after', { invoke: () => undefined })
    const { coordinator, sql, schema } = await setup({ sagas: [saga as unknown as Saga<unknown, unknown, object>] })
    const run = await coordinator.start(saga, { id: 'x', input })
    await expect
      .poll(
        async () => (await sql.query(`SELECT 1 FROM ${schema}.saga WHERE deadline_at < clock_timestamp()`)).rowCount,
      )
      .toBe(1)
    leave.open()
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
  })

  test('a deadline of a wrong kind is refused', () => {
    expect(() => defineSaga('x', { version: 1, input: Input, deadlineMs: 0 })).toThrow(
      'defineSaga("x").deadlineMs: expected a whole number >= 1, got 0',
    )
  })
})
