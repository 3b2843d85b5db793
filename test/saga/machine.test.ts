import { advance, initialState, type SagaEvent, type SagaShape, type SagaState, type Transition } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { policy, shape, stepShape } from './support/shape.ts'

const no = { code: 'no', message: 'no' }
const oops = { code: 'oops', message: 'oops' }

function ok(step: string): SagaEvent {
  return { type: 'succeeded', step, operation: 'invoke', result: step }
}
function undone(step: string): SagaEvent {
  return { type: 'succeeded', step, operation: 'compensate' }
}
function refused(step: string): SagaEvent {
  return { type: 'refused', step, operation: 'invoke', error: no }
}
function failed(step: string, more: object = {}): SagaEvent {
  return { type: 'failed', step, operation: 'invoke', error: oops, terminal: false, ...more }
}
function operator(action: Extract<SagaEvent, { type: 'operator' }>['action']): SagaEvent {
  return { type: 'operator', action, by: 'ann', reason: 'looked at it' }
}
const due: SagaEvent = { type: 'due' }

/** Plays events that must all be heard; returns the last transition. */
function play(s: SagaShape, ...events: SagaEvent[]): Transition {
  let last = advance(s, initialState(s), { type: 'started' }) as Transition
  for (const event of events) {
    const next = advance(s, last.state, event)
    expect(next, JSON.stringify(event)).toBeDefined()
    last = next as Transition
  }
  return last
}

function summary({ status, steps }: SagaState): string {
  return `${status}: ${steps.map((step) => step.status + (step.wait === undefined ? '' : `/${step.wait}`)).join(' ')}`
}

describe('forward', () => {
  const s = shape(stepShape('a'), stepShape('b', { remote: true }))

  test('records the intent and asks for the call, step after step', () => {
    const first = play(s)
    expect(summary(first.state)).toBe('running: invoking/call pending')
    expect(first.calls).toEqual([{ index: 0, step: 'a', operation: 'invoke', attempt: 1 }])
    expect(first.wake).toEqual({ kind: 'lease' })
    const second = play(s, ok('a'))
    expect(summary(second.state)).toBe('running: invoked invoking/reply')
    expect(second.wake).toEqual({ kind: 'in', ms: 1_000 })
    const end = play(s, ok('a'), ok('b'))
    expect(summary(end.state)).toBe('completed: invoked invoked')
    expect(end.wake).toEqual({ kind: 'never' })
  })

  test('a failed attempt waits for its backoff, then is made again', () => {
    const waiting = play(s, failed('a', { attempt: 1 }))
    expect(summary(waiting.state)).toBe('running: invoking/retry pending')
    expect(waiting.wake).toEqual({ kind: 'in', ms: 10 })
    expect(play(s, failed('a'), due).calls).toEqual([{ index: 0, step: 'a', operation: 'invoke', attempt: 2 }])
  })

  test('a reply that is late is asked for again, and given up after the last attempt', () => {
    expect(play(s, ok('a'), due).calls).toEqual([{ index: 1, step: 'b', operation: 'invoke', attempt: 2 }])
    const givenUp = play(s, ok('a'), due, due)
    expect(summary(givenUp.state)).toBe('compensating: invoked compensating/reply')
    expect(givenUp.state.failure).toEqual({ step: 'b', code: 'saga.no_reply', message: 'no reply came in time' })
  })

  test('a resumed coordinator sends the command again without using up an attempt', () => {
    expect(play(s, ok('a'), { type: 'resumed' }).calls).toEqual([
      { index: 1, step: 'b', operation: 'invoke', attempt: 1 },
    ])
  })

  test('a failure of an earlier attempt is ignored', () => {
    const { state } = play(s, ok('a'), due)
    expect(advance(s, state, failed('b', { attempt: 1 }))).toBeUndefined()
  })

  test('a step that takes its process down is made again, and given up after 50 times', () => {
    const { state, calls } = play(s, due)
    expect(calls).toEqual([{ index: 0, step: 'a', operation: 'invoke', attempt: 1 }])
    expect(state.steps[0]).toMatchObject({ attempts: 1, orphans: 1, doubt: true })
    const many = play(s, ...Array.from({ length: 50 }, () => due))
    expect(summary(many.state)).toBe('compensating: compensating/call pending')
  })

  test('a yielded call is due at once with its attempt not used', () => {
    const yielded = play(s, { type: 'yielded', step: 'a' })
    expect(yielded.wake).toEqual({ kind: 'in', ms: 0 })
    expect(play(s, { type: 'yielded', step: 'a' }, due).calls).toMatchObject([{ attempt: 1 }])
  })
})

describe('backward', () => {
  const s = shape(stepShape('a'), stepShape('b', { compensates: false }), stepShape('c'), stepShape('d'))

  test('a refused step is not undone, the steps before it are, last first', () => {
    const turned = play(s, ok('a'), ok('b'), ok('c'), refused('d'))
    expect(summary(turned.state)).toBe('compensating: invoked invoked compensating/call refused')
    expect(turned.calls).toEqual([{ index: 2, step: 'c', operation: 'compensate', attempt: 1 }])
    const end = play(s, ok('a'), ok('b'), ok('c'), refused('d'), undone('c'), undone('a'))
    expect(summary(end.state)).toBe('compensated: compensated invoked compensated refused')
    expect(end.state.failure).toEqual({ step: 'd', ...no })
  })

  test('a terminal error that is no refusal is undone too', () => {
    expect(summary(play(s, failed('a', { terminal: true })).state)).toBe(
      'compensating: compensating/call pending pending pending',
    )
  })

  test('a local refusal after an attempt in doubt is undone', () => {
    expect(summary(play(s, failed('a'), due, refused('a')).state)).toBe(
      'compensating: compensating/call pending pending pending',
    )
  })

  test('a transactional step that gave up certainly left nothing', () => {
    const one = shape(stepShape('a', { transactional: true }))
    expect(summary(play(one, failed('a'), due, failed('a')).state)).toBe('compensated: failed')
  })

  test('a refusal of the first step ends the saga', () => {
    expect(summary(play(s, refused('a')).state)).toBe('compensated: refused pending pending pending')
  })

  test('a late success of a step that is being undone changes nothing', () => {
    const { state } = play(s, failed('a', { terminal: true }))
    expect(advance(s, state, ok('a'))).toBeUndefined()
  })

  test('a compensation that keeps failing parks the saga', () => {
    const fail: SagaEvent = { type: 'failed', step: 'a', operation: 'compensate', error: oops, terminal: false }
    const stuck = play(s, ok('a'), refused('b'), fail, due, fail)
    expect(summary(stuck.state)).toBe('stuck: compensating/operator refused pending pending')
    expect(stuck.state.failure).toEqual({ step: 'b', ...no })
    expect(stuck.timeline.at(-1)).toEqual({
      kind: 'stuck',
      step: 'a',
      detail: { operation: 'compensate', ...oops },
    })
  })
})

describe('the pivot', () => {
  const s = shape(
    stepShape('a'),
    stepShape('p', { pivot: true, compensates: false }),
    stepShape('z', { compensates: false, invoke: policy(1) }),
  )

  test('can still be refused', () => {
    expect(summary(play(s, ok('a'), refused('p')).state)).toBe('compensating: compensating/call refused pending')
  })

  test('is parked when its outcome stays unknown: it may have happened', () => {
    const stuck = play(s, ok('a'), failed('p'), due, failed('p'))
    expect(summary(stuck.state)).toBe('stuck: invoked invoking/operator pending')
  })

  test('a late answer frees a parked pivot', () => {
    const { state } = play(s, ok('a'), failed('p'), due, failed('p'))
    expect(summary((advance(s, state, ok('p')) as Transition).state)).toBe('running: invoked invoked invoking/call')
  })

  test('an operator can say that it did not happen', () => {
    const back = play(s, ok('a'), failed('p'), due, failed('p'), operator({ do: 'compensate' }))
    expect(summary(back.state)).toBe('compensating: compensating/call skipped pending')
    expect(back.timeline[0]).toEqual({
      kind: 'operator-compensate',
      step: 'p',
      detail: { by: 'ann', reason: 'looked at it' },
    })
  })

  test('after it a refusal parks: there is only forward', () => {
    const stuck = play(s, ok('a'), ok('p'), refused('z'))
    expect(summary(stuck.state)).toBe('stuck: invoked invoked invoking/operator')
    expect(advance(s, stuck.state, operator({ do: 'compensate' }))).toBeUndefined()
  })

  test('an operator can retry, skip and resolve', () => {
    const stuck = [ok('a'), ok('p'), refused('z')]
    expect(play(s, ...stuck, operator({ do: 'retry' })).calls).toMatchObject([{ step: 'z', attempt: 1 }])
    const skipped = play(s, ...stuck, operator({ do: 'skip', result: 7 }))
    expect(summary(skipped.state)).toBe('completed: invoked invoked skipped')
    expect(skipped.state.steps[2]?.result).toBe(7)
    expect(skipped.state.failure).toBeUndefined()
    expect(play(s, ...stuck, operator({ do: 'resolve', outcome: 'completed' })).state.status).toBe('completed')
  })

  test('an operator has no say in a saga that is not stuck', () => {
    const { state } = play(s)
    expect(advance(s, state, operator({ do: 'retry' }))).toBeUndefined()
  })
})
