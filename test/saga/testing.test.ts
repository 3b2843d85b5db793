import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import {
  attemptFailed,
  done,
  due,
  expired,
  explore,
  given,
  omitted,
  operator,
  refused,
  signalled,
  undone,
} from 'concordat/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { shape, stepShape } from './support/shape.ts'

const payments = defineChannel('payments', { payload: z.object({ cents: z.number() }) })
const buy = defineSaga('buy', { version: 1, input: z.object({ cents: z.number() }) })
  .step('open', { invoke: () => 1, compensate: () => {} })
  .when(
    ({ input }) => input.cents > 100,
    (large) => large.signal('approval', { payload: z.object({ by: z.string() }), timeoutMs: 1_000 }),
  )
  .command('charge', { to: payments, request: ({ input }) => input, compensate: true })
  .timer('wait', { delay: 5 })
  .step('confirm', { invoke: () => 2, pivot: true })
  .step('mail', { invoke: () => 3 })

describe('given, when, then', () => {
  test('describe a saga step by step', () => {
    const open = given(buy)
    expect(open).toMatchObject({ status: 'running', calls: [{ step: 'open', operation: 'invoke', attempt: 1 }] })
    const charging = open.when(done('open', 1), signalled('approval', { by: 'ann' }))
    expect(charging.calls).toEqual([{ step: 'charge', operation: 'invoke', attempt: 1 }])
    expect(charging.steps).toMatchObject({ open: 'invoked', approval: 'invoked', charge: 'invoking', wait: 'pending' })
    const paid = charging.when(done('charge'), due(), done('confirm'), done('mail'))
    expect(paid).toMatchObject({ status: 'completed', heard: true, failure: undefined })
    expect(open.status, 'a story is a value').toBe('running')
  })

  test('describe the way back', () => {
    const declined = given(buy, done('open'), omitted('approval')).when(refused('charge', 'payments.declined'))
    expect(declined).toMatchObject({ status: 'compensating', failure: { step: 'charge', code: 'payments.declined' } })
    expect(declined.calls).toEqual([{ step: 'open', operation: 'compensate', attempt: 1 }])
    expect(declined.when(undone('open')).status).toBe('compensated')
    expect(given(buy, done('open'), expired()).failure?.code).toBe('saga.deadline')
    const lost = given(buy, done('open'), omitted('approval'), attemptFailed('charge', { terminal: true }))
    expect(lost.calls).toEqual([{ step: 'charge', operation: 'compensate', attempt: 1 }])
  })

  test('reject an event without effect', () => {
    const unheard = given(buy).when(done('charge'))
    expect(unheard).toMatchObject({ heard: false, calls: [], steps: { charge: 'pending' } })
    expect(given(buy).when(operator('retry')).heard).toBe(false)
    expect(() => given({} as never)).toThrow('given: expected a saga made by defineSaga')
  })
})

describe('explore', () => {
  test('finds every end of a sound definition, and no problem', () => {
    const { problems, runs, stuck, left } = explore(buy)
    expect(problems).toEqual([])
    expect(new Set(runs.map(({ end }) => end))).toEqual(new Set(['completed', 'compensated', 'stuck']))
    expect(runs[0]).toEqual({ faults: [], end: 'completed', effects: ['open', 'charge', 'confirm', 'mail'] })
    const where = new Set(stuck.map(({ faults: [fault] }) => `${fault?.operation} ${fault?.step}`))
    expect(where).toEqual(new Set(['invoke confirm', 'invoke mail']))
    expect(left).toEqual([])
  })

  test('with two faults finds where a compensation gets stuck', () => {
    const { problems, stuck, runs } = explore(buy, { faults: 2, omit: ['approval'] })
    expect(problems).toEqual([])
    expect(runs.length).toBeGreaterThan(1_000)
    expect(stuck.some(({ faults }) => faults.some(({ operation }) => operation === 'compensate'))).toBe(true)
  })

  test('shows effects that nothing undoes', () => {
    const saga = defineSaga('mail', { version: 1, input: z.object({}) })
      .step('mail', { invoke: () => 1, compensate: 'none' })
      .step('open', { invoke: () => 1, compensate: () => {} })
    const { left, problems } = explore(saga)
    expect(problems).toEqual([])
    expect(left.length).toBeGreaterThan(0)
    expect(left.every(({ effects }) => effects.includes('mail'))).toBe(true)
  })

  test('reports a shape with wrong effects', () => {
    // The step claims that its effect is part of the commit, so nothing is undone after an error; but it is another
    // service's.
    const liar = shape(stepShape('a', { remote: true, transactional: true }), stepShape('b'))
    const { problems } = explore(liar)
    expect(problems.map(({ problem }) => problem)).toContain('it is compensated, but the effect of "a" is still there')
  })

  test('refuses an invalid saga and unknown conditions', () => {
    expect(() => explore({ steps: [] })).toThrow('explore: expected a saga made by defineSaga')
    expect(() => explore(buy, { omit: ['charge'] })).toThrow(
      'explore.omit: expected one of the conditional steps: approval, got "charge"',
    )
    expect(() => explore(buy, { faults: 9 })).toThrow('explore.faults: expected a whole number >= 0 and <= 3, got 9')
    expect(() => explore(buy, { fault: 1 } as never)).toThrow('Did you mean "faults"?')
  })
})
