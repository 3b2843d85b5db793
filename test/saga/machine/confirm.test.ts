import { attemptFailed, done, due, explore, given, operator, refused } from 'concordat/testing'
import { describe, expect, test } from 'vitest'
import { policy, shape, stepShape } from '../support/shape.ts'

const reserve = (name: string, remote = true) =>
  stepShape(name, { remote, confirm: { ...policy(2), ...(remote && { patient: true }) } })
const two = shape(reserve('a'), reserve('b'))
const confirmed = (step: string) => done(step, undefined, 'confirm')
const asked = (operation: string, ...steps: string[]) => steps.map((step) => ({ step, operation, attempt: 1 }))

describe('a step that reserves', () => {
  test('is confirmed, together with the others, when all steps are done', () => {
    const tried = given(two, done('a', 1))
    expect(tried.calls).toEqual(asked('invoke', 'b'))
    const decided = tried.when(done('b'))
    expect(decided).toMatchObject({ status: 'running', steps: { a: 'confirming', b: 'confirming' } })
    expect(decided.calls).toEqual(asked('confirm', 'a', 'b'))
    const over = decided.when(confirmed('b'), confirmed('a'))
    expect(over).toMatchObject({ status: 'completed', steps: { a: 'confirmed', b: 'confirmed' } })
    expect(over.state.steps[0]).toMatchObject({ result: 1, reserved: true })
  })

  test('is confirmed once the pivot is done, before the steps after it', () => {
    const saga = shape(
      reserve('a'),
      stepShape('pivot', { pivot: true, compensates: false }),
      stepShape('more', { compensates: false }),
    )
    const decided = given(saga, done('a'), done('pivot'))
    expect(decided.calls).toEqual(asked('confirm', 'a'))
    const after = decided.when(confirmed('a'))
    expect(after.calls).toEqual(asked('invoke', 'more'))
    expect(after.when(done('more')).status).toBe('completed')
  })

  test('is cancelled when the saga turns back, also when nothing is known of its try', () => {
    const back = given(two, done('a')).when(refused('b', 'empty'))
    expect(back.calls).toEqual(asked('compensate', 'a'))
    const lost = given(shape(reserve('a'), reserve('b', false)), done('a'), attemptFailed('b', { terminal: true }))
    expect(lost.calls).toEqual(asked('compensate', 'b'))
  })

  test('can no longer be cancelled from the decision on', () => {
    const decided = given(two, done('a'), done('b'))
    expect(decided.when(operator('cancel')).heard).toBe(false)
    expect(decided.when(confirmed('a'), operator('cancel')).heard).toBe(false)
  })

  test('a reservation that cannot be confirmed is parked; the saga is stuck when the others are done', () => {
    const parked = given(two, done('a'), done('b'), attemptFailed('a', { operation: 'confirm', terminal: true }))
    expect(parked.status).toBe('running')
    const stuck = parked.when(confirmed('b'))
    expect(stuck).toMatchObject({ status: 'stuck', failure: { step: 'a', code: 'error' } })
    expect(stuck.when(operator('compensate')).heard).toBe(false)
    expect(stuck.when(operator('skip'))).toMatchObject({ status: 'completed', steps: { a: 'skipped' } })
    const again = stuck.when(operator('retry'))
    expect(again).toMatchObject({ status: 'running', calls: asked('confirm', 'a'), failure: undefined })
    expect(again.when(confirmed('a')).status).toBe('completed')
    expect(stuck.when(confirmed('a')).status, 'a late answer frees it').toBe('completed')
  })

  test('whose participant is down is parked too, when another one waits for an operator', () => {
    const decided = given(two, done('a'), done('b'))
    const away = decided.when(due(), due(), due())
    expect(away).toMatchObject({ status: 'running', steps: { a: 'confirming', b: 'confirming' } })
    const stuck = away.when(attemptFailed('a', { operation: 'confirm', terminal: true }), due())
    expect(stuck.status).toBe('stuck')
    const retried = stuck.when(operator('retry'))
    expect(retried.calls).toEqual(asked('confirm', 'a', 'b'))
    const one = stuck.when(confirmed('b'))
    expect(one).toMatchObject({ status: 'stuck', failure: { step: 'a' } })
    expect(stuck.when(operator('skip'))).toMatchObject({ status: 'stuck', failure: { step: 'b' } })
  })

  test('ends confirmed or cancelled, or stuck, under every fault', () => {
    const saga = shape(reserve('a'), reserve('b', false), stepShape('pivot', { pivot: true, compensates: false }))
    for (const explored of [explore(two, { faults: 2 }), explore(saga)]) {
      expect(explored.problems).toEqual([])
      expect(
        explored.stuck.every(({ faults }) =>
          faults.some(({ operation, step }) => operation !== 'invoke' || step === 'pivot'),
        ),
      ).toBe(true)
    }
    const confirms = explore(two).runs.filter(({ faults }) => faults.some(({ operation }) => operation === 'confirm'))
    expect(new Set(confirms.map(({ end }) => end))).toEqual(new Set(['completed', 'stuck']))
  })
})
