import { createOperator } from '@concordat/cli'
import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { gate, until } from '../../support/until.ts'
import { worlds } from '../support/running-world.ts'

const create = worlds()
const Input = z.object({ sku: z.string(), n: z.number() })
const input = { sku: 'apple', n: 2 }

describe('the result of a skipped step', () => {
  const note = { by: 'ann', reason: 'known' }

  test('is that of the step on which the saga is stuck now, wherever its last steps were made', async () => {
    const saga = defineSaga('two', { version: 1, input: Input })
      .step('pivot', { pivot: true, invoke: () => 1 })
      .signal('first', { payload: z.object({ a: z.string() }) })
      .signal('second', { payload: z.object({ n: z.number() }), timeoutMs: 1 })
    const world = await create({ sagas: [saga], coordinator: { pollMs: 60_000 } })
    const { coordinator } = world
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 's1', input })
    const waits = async () => (await run.report()).steps.some(({ step, wait }) => step === 'first' && wait === 'signal')
    await until('it waits for the first signal', waits)
    const other = world.another({ pollMs: 20 })
    await other.run()
    await other.signal(saga, 's1', 'first', { a: 'hello' })
    await until('it is stuck', async () => (await run.report()).status === 'stuck')
    const wrong = coordinator.skip(run, { ...note, result: { a: 'hello' } })
    await expect(wrong).rejects.toMatchObject({ code: 'core.schema' })
    await coordinator.skip(run, { ...note, result: { n: 5 } })
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ results: { second: { n: 5 } } })
    await other.close()
  })

  test('without a result, requested by two people at once, counts one step as done', async () => {
    const fails = (): never => {
      throw Object.assign(new Error('no'), { retryable: false })
    }
    const saga = defineSaga('two', { version: 1, input: Input })
      .step('pivot', { pivot: true, invoke: () => 1 })
      .step('first', { retry: { maxAttempts: 1 }, invoke: fails })
      .step('second', { retry: { maxAttempts: 1 }, invoke: fails })
    const { coordinator } = await create({ sagas: [saga] })
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 's1', input })
    await until('it is stuck', async () => (await run.report()).status === 'stuck')
    const skips = await Promise.allSettled([coordinator.skip(run, note), coordinator.skip(run, note)])
    expect(skips.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    const skipped = (await run.report()).timeline.filter(({ kind }) => kind === 'operator-skip')
    expect(skipped.map(({ step }) => step)).toEqual(['first'])
  })

  test('is not checked when none is given, by a call and from mail', async () => {
    const saga = defineSaga('two', { version: 1, input: Input })
      .step('pivot', { pivot: true, invoke: () => 1 })
      .signal('first', { payload: z.object({ a: z.string() }), timeoutMs: 1 })
      .signal('second', { payload: z.object({ n: z.number() }), timeoutMs: 1 })
    const { coordinator, sql, outbox } = await create({ sagas: [saga] })
    const operator = createOperator({ sql, schema: outbox.schema })
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 's1', input })
    const stuckOn = async (step: string) =>
      (await run.report()).steps.some((each) => each.step === step && each.wait === 'operator')
    await until('it is stuck on the first step', () => stuckOn('first'))
    await coordinator.skip(run, note)
    await until('it is stuck on the second step', () => stuckOn('second'))
    expect(await operator.sagas.skip(run, note)).toMatchObject({ outcome: 'applied' })
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed', results: { pivot: 1 } })
  })

  test('is refused when the saga is stuck on another step by the time it has been read, by a call and from mail', async () => {
    const read = gate()
    const slow = new Set<string>()
    const First = z.object({ a: z.string() }).refine(async ({ a }) => {
      if (a === 'quick') return true
      slow.add(a)
      await read.opened
      return true
    })
    const saga = defineSaga('two', { version: 1, input: Input })
      .step('pivot', { pivot: true, invoke: () => 1 })
      .signal('first', { payload: First, timeoutMs: 1 })
      .signal('second', { payload: z.object({ n: z.number() }), timeoutMs: 1 })
    const world = await create({ sagas: [saga] })
    const { coordinator, another, sql, outbox } = world
    const operator = createOperator({ sql, schema: outbox.schema })
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 's1', input })
    const stuckOn = async (step: string) =>
      (await run.report()).steps.some((each) => each.step === step && each.wait === 'operator')
    await until('it is stuck on the first step', () => stuckOn('first'))
    const called = coordinator.skip(run, { ...note, result: { a: 'called' } }).catch((error: unknown) => error)
    const mail = { by: 'bob', reason: 'known', result: { a: 'posted' } }
    const posted = operator.sagas.skip(run, mail).catch((error: unknown) => error)
    await until('both results are being read', () => slow.size === 2)
    const other = another()
    await other.skip(run, { ...note, result: { a: 'quick' } })
    await until('it is stuck on the second step', () => stuckOn('second'))
    read.open()
    expect(await called).toMatchObject({
      code: 'saga.action_refused',
      message: expect.stringContaining('it is stuck on invoke of step "second", no longer on invoke of step "first"'),
    })
    expect(await posted).toMatchObject({ code: 'saga.action_refused' })
    expect(await stuckOn('second')).toBe(true)
    await coordinator.skip(run, { ...note, result: { n: 5 } })
    const results = { first: { a: 'quick' }, second: { n: 5 } }
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ results })
    await other.close()
  })

  test('is refused for a compensation, which has none, and the step keeps its own', async () => {
    const saga = defineSaga('back', { version: 1, input: Input })
      .step('reserve', {
        invoke: () => 'reserved',
        compensate: () => {
          throw Object.assign(new Error('broken'), { retryable: false })
        },
      })
      .step('refuse', {
        compensate: 'none',
        invoke: () => {
          throw Object.assign(new Error('no'), { retryable: false })
        },
      })
    const world = await create({ sagas: [saga] })
    const { coordinator } = world
    await coordinator.run()
    const run = await coordinator.start(saga, { id: 's1', input })
    expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('stuck')
    const skipped = coordinator.skip(run, { ...note, result: 'garbage' })
    await expect(skipped).rejects.toMatchObject({ code: 'saga.action_refused' })
    await expect(skipped).rejects.toThrow('compensate of step "reserve"')
    await coordinator.skip(run, note)
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({
      status: 'compensated',
      results: { reserve: 'reserved' },
    })
  })
})
