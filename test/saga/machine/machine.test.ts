import type { SagaState } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { advance, initialState, type SagaEvent, type SagaShape, type Transition } from '../../support/inside/saga.ts'
import { policy, shape, stepShape } from '../support/shape.ts'

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

/** Plays events that must all be accepted; returns the last transition. */
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

describe('cancelling', () => {
  const s = shape(stepShape('a'), stepShape('b', { remote: true }), stepShape('p', { pivot: true, compensates: false }))
  const cancel = operator({ do: 'cancel' })
  const cancelled = { code: 'saga.cancelled', message: 'looked at it' }

  test('lets the local call that runs return, and undoes it', () => {
    const asked = play(s, cancel)
    expect(summary(asked.state)).toBe('running: invoking/call pending pending')
    expect([asked.calls, asked.wake]).toEqual([[], { kind: 'keep' }])
    const turned = play(s, cancel, ok('a'))
    expect(summary(turned.state)).toBe('compensating: compensating/call pending pending')
    expect(turned.state).toMatchObject({ failure: { step: 'a', ...cancelled } })
    expect(turned.state.cancel).toBeUndefined()
  })

  test('does not retry a step that failed in the meantime', () => {
    expect(summary(play(s, cancel, failed('a')).state)).toBe('compensating: compensating/call pending pending')
    expect(summary(play(s, cancel, due).state), 'its process died').toBe(
      'compensating: compensating/call pending pending',
    )
    expect(summary(play(s, cancel, refused('a')).state)).toBe('compensated: refused pending pending')
  })

  test('does not wait for a reply or a pause', () => {
    const waiting = play(s, ok('a'), cancel)
    expect(summary(waiting.state)).toBe('compensating: invoked compensating/reply pending')
    expect(waiting.calls).toMatchObject([{ step: 'b', operation: 'compensate' }])
    expect(summary(play(s, failed('a'), cancel).state)).toBe('compensating: compensating/call pending pending')
  })

  test('is refused once the pivot is begun, on the way back, and for a stuck saga', () => {
    const atPivot = play(s, ok('a'), ok('b'))
    expect(advance(s, atPivot.state, cancel)).toBeUndefined()
    expect(advance(s, atPivot.state, { type: 'expired' })).toBeUndefined()
    const back = play(s, ok('a'), refused('b'))
    expect(advance(s, back.state, cancel)).toBeUndefined()
    const stuck = play(s, ok('a'), ok('b'), failed('p', { terminal: true }))
    expect(stuck.state.status).toBe('stuck')
    expect(advance(s, stuck.state, cancel)).toBeUndefined()
  })

  test('a saga that has not begun ends without a call', () => {
    const ended = advance(s, initialState(s), cancel) as Transition
    expect(summary(ended.state)).toBe('compensated: pending pending pending')
    expect(ended.state.failure).toEqual({ step: '', ...cancelled })
  })

  test('a deadline does the same, once', () => {
    const expired = play(s, { type: 'expired' })
    expect(advance(s, expired.state, { type: 'expired' })).toBeUndefined()
    const turned = play(s, { type: 'expired' }, ok('a'))
    expect(turned.state.failure).toEqual({
      step: 'a',
      code: 'saga.deadline',
      message: "the saga's deadline has passed",
    })
  })
})

describe('a group', () => {
  const member = (name: string, more: object = {}) => stepShape(name, { group: 0, ...more })
  const s = shape(member('a'), member('b', { remote: true }), member('c', { remote: true }), stepShape('z'))
  const at = (state: SagaState, event: SagaEvent, elapsedMs: number) =>
    advance(s, state, event, 0, elapsedMs) as Transition

  test('is begun together, and the saga continues when all are done', () => {
    const first = play(s)
    expect(summary(first.state)).toBe('running: invoking/call invoking/reply invoking/reply pending')
    expect(first.calls.map(({ step }) => step)).toEqual(['a', 'b', 'c'])
    expect(first.wake).toEqual({ kind: 'lease' })
    const oneDone = play(s, ok('b'))
    expect([summary(oneDone.state), oneDone.wake]).toEqual([
      'running: invoking/call invoked invoking/reply pending',
      { kind: 'keep' },
    ])
    expect(summary(play(s, ok('b'), ok('a'), ok('c')).state)).toBe('running: invoked invoked invoked invoking/call')
  })

  test('has its own time for each', () => {
    const waiting = at(play(s).state, ok('a'), 300)
    expect(waiting.wake).toEqual({ kind: 'in', ms: 700 })
    const failedOne = at(waiting.state, failed('b', { attempt: 1 }), 100)
    expect(failedOne.wake).toEqual({ kind: 'in', ms: 10 })
    const again = at(failedOne.state, due, 10)
    expect(again.calls).toEqual([{ index: 1, step: 'b', operation: 'invoke', attempt: 2 }])
    expect(again.wake).toEqual({ kind: 'in', ms: 590 })
    expect(at(again.state, due, 5).calls, 'too early').toEqual([])
  })

  test('a refusing member turns all back: waiting ones at once, a running call when it has returned', () => {
    const turned = play(s, refused('b'))
    expect(summary(turned.state)).toBe('running: invoking/call refused unknown pending')
    expect([turned.wake, turned.calls]).toEqual([{ kind: 'keep' }, []])
    const back = play(s, refused('b'), ok('a'))
    expect(summary(back.state)).toBe('compensating: invoked refused compensating/reply pending')
    expect(back.state.failure).toEqual({ step: 'b', ...no })
    expect(summary(play(s, refused('b'), ok('a'), undone('c'), undone('a')).state)).toBe(
      'compensated: compensated refused compensated pending',
    )
    expect(summary(play(s, refused('b'), failed('a')).state), 'is not tried again').toBe(
      'compensating: unknown refused compensating/reply pending',
    )
  })

  test('a repeated call is withdrawn when another of the group gives up', () => {
    const two = shape(member('a', { remote: true }), member('b', { remote: true, invoke: policy(1) }))
    const both = advance(two, play(two).state, due) as Transition
    expect(summary(both.state)).toBe('compensating: unknown compensating/reply')
    expect(both.calls).toEqual([{ index: 1, step: 'b', operation: 'compensate', attempt: 1 }])
  })
})

describe('a conditional step', () => {
  const s = shape(stepShape('a', { conditional: true }), stepShape('b', { remote: true, conditional: true }))
  const omitted = (step: string): SagaEvent => ({ type: 'omitted', step })

  test('a conditional step that is not needed is left out, forward and backward', () => {
    const first = play(s, omitted('a'))
    expect(summary(first.state)).toBe('running: omitted invoking/reply')
    expect(summary(play(s, omitted('a'), omitted('b')).state)).toBe('completed: omitted omitted')
    expect(summary(play(s, omitted('a'), refused('b')).state)).toBe('compensated: omitted refused')
  })

  test('a conditional step that was called once is no longer left out', () => {
    const retried = play(s, failed('a'), due)
    expect(advance(s, retried.state, omitted('a'))).toBeUndefined()
    expect(advance(s, play(s, failed('a')).state, omitted('a'))).toBeUndefined()
    expect(advance(shape(stepShape('a')), play(shape(stepShape('a'))).state, omitted('a'))).toBeUndefined()
  })

  test('a conditional step that waits for a signal asks first, also when the signal came before', () => {
    const signal: SagaEvent = { type: 'signalled', step: 'yes', payload: 1 }
    const asks = shape(
      stepShape('a'),
      stepShape('yes', { awaits: 'signal', conditional: true, transactional: true, compensates: false }),
    )
    const asked = play(asks, signal, ok('a'))
    expect(summary(asked.state)).toBe('running: invoked invoking/signal')
    expect(asked.calls).toMatchObject([{ step: 'yes' }])
    expect(asked.state.steps[1]?.signal).toEqual({ payload: 1 })
    expect(summary(play(asks, signal, ok('a'), omitted('yes')).state)).toBe('completed: invoked omitted')
    expect(summary(play(asks, signal, ok('a'), signal).state)).toBe('completed: invoked invoked')
  })
})

describe('steps that call nothing', () => {
  const passive = (name: string, awaits: 'time' | 'signal', timeoutMs = 1_000) =>
    stepShape(name, { awaits, timeoutMs, transactional: true, compensates: false, invoke: policy(1) })
  const s = shape(stepShape('a'), passive('nap', 'time'), passive('yes', 'signal'), stepShape('z'))
  const signal: SagaEvent = { type: 'signalled', step: 'yes', payload: { by: 'ann' } }

  test('a timer gets its duration, and is done when it is due', () => {
    const asked = play(s, ok('a'))
    expect(asked.calls).toEqual([{ index: 1, step: 'nap', operation: 'invoke', attempt: 1 }])
    expect(play(s, ok('a'), { type: 'armed', step: 'nap', ms: 5_000 }).wake).toEqual({ kind: 'in', ms: 5_000 })
    expect(summary(play(s, ok('a'), due).state)).toBe('running: invoked invoked invoking/signal pending')
  })

  test('a signal is waited for, with a time limit or forever', () => {
    expect(play(s, ok('a'), due).wake).toEqual({ kind: 'in', ms: 1_000 })
    expect(play(shape(passive('yes', 'signal', Number.POSITIVE_INFINITY))).wake).toEqual({ kind: 'never' })
    const told = play(s, ok('a'), due, signal)
    expect(summary(told.state)).toBe('running: invoked invoked invoked invoking/call')
    expect(told.state.steps[2]?.result).toEqual({ by: 'ann' })
  })

  test('a signal that comes early is kept for its step, once', () => {
    const early = play(s, signal)
    expect(early.wake).toEqual({ kind: 'keep' })
    expect(advance(s, early.state, { ...signal, payload: { by: 'bob' } })).toBeUndefined()
    const later = play(s, signal, ok('a'), due)
    expect(summary(later.state)).toBe('running: invoked invoked invoked invoking/call')
    expect(later.state.steps[2]).toEqual({ step: 'yes', status: 'invoked', attempts: 0, result: { by: 'ann' } })
  })

  test('a repeated signal, or one for another kind of step, has no effect', () => {
    expect(advance(s, play(s, ok('a'), due, signal).state, signal)).toBeUndefined()
    expect(advance(s, play(s).state, { type: 'signalled', step: 'a' })).toBeUndefined()
  })

  test('a signal that does not come in time turns the saga back, or parks it after the pivot', () => {
    const back = play(s, ok('a'), due, due)
    expect(summary(back.state)).toBe('compensating: compensating/call invoked failed pending')
    expect(back.state.failure).toEqual({ step: 'yes', code: 'saga.no_signal', message: 'no signal came in time' })
    const forward = shape(stepShape('p', { pivot: true, compensates: false }), passive('yes', 'signal'), stepShape('z'))
    const stuck = play(forward, ok('p'), due)
    expect(summary(stuck.state)).toBe('stuck: invoked invoking/operator pending')
    expect(summary(play(forward, ok('p'), due, signal).state), 'a late one frees it').toBe(
      'running: invoked invoked invoking/call',
    )
  })

  test('cancelling ends the wait', () => {
    const cancel = operator({ do: 'cancel' })
    expect(summary(play(s, ok('a'), cancel).state)).toBe('compensating: compensating/call failed pending pending')
    expect(summary(play(s, ok('a'), due, cancel).state)).toBe('compensating: compensating/call invoked failed pending')
  })
})

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

  test('a late reply is requested again, and given up after the last attempt', () => {
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

  test('a failure of an earlier attempt is ignored where each call counts as an attempt', () => {
    const { state } = play(s, ok('a'), due)
    expect(advance(s, state, failed('b', { attempt: 1 }))).toBeUndefined()
  })

  test('a failure of an earlier copy counts once where answers are waited for without end, and no copy is sent for it', () => {
    const waits = shape(stepShape('b', { remote: true, timeoutMs: 100, invoke: { ...policy(3), patient: true } }))
    const late = play(waits, due, due, failed('b', { attempt: 1 }))
    expect(late.calls).toEqual([])
    expect(late.state.steps[0]).toMatchObject({ wait: 'reply', attempts: 3, unanswered: 1, failedAttempt: 1 })
    expect(late.wake, 'its participant is there: the newest copy is waited for anew').toEqual({ kind: 'in', ms: 200 })
    expect(advance(waits, late.state, failed('b', { attempt: 1 }))).toBeUndefined()
    const second = play(waits, due, due, failed('b', { attempt: 1 }), failed('b', { attempt: 2 }))
    expect(summary(second.state)).toBe('running: invoking/reply')
    const third = play(waits, due, due, ...[1, 2, 3].map((attempt) => failed('b', { attempt })))
    expect(third.state.status).not.toBe('running')
  })

  test('failures that are answered one copy too late give a step up after its policy’s attempts', () => {
    const waits = shape(stepShape('b', { remote: true, invoke: { ...policy(5), patient: true } }))
    const events = [1, 2, 3, 4, 5].flatMap((attempt) => [due, failed('b', { attempt })])
    expect(play(waits, ...events).state.status).not.toBe('running')
    expect(play(waits, ...events.slice(0, 9)).state.status).toBe('running')
  })

  test('a step that takes its process down is repeated, and given up after 50 times', () => {
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

  test('a transactional step that gave up certainly had no effect', () => {
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

  test('a late answer, when the broker is back, frees a parked saga', () => {
    const remote = shape(stepShape('a', { remote: true }), stepShape('b'))
    const stuck = play(remote, ok('a'), refused('b'), due, due)
    expect(summary(stuck.state)).toBe('stuck: compensating/operator refused')
    const late: SagaEvent = { type: 'succeeded', step: 'a', operation: 'compensate' }
    const freed = advance(remote, stuck.state, late)
    expect(freed?.state.status).toBe('compensated')
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

  test('an operator can declare that it did not happen', () => {
    const back = play(s, ok('a'), failed('p'), due, failed('p'), operator({ do: 'compensate' }))
    expect(summary(back.state)).toBe('compensating: compensating/call skipped pending')
    expect(back.timeline[0]).toEqual({
      kind: 'operator-compensate',
      step: 'p',
      detail: { by: 'ann', reason: 'looked at it' },
    })
  })

  test('after it a refusal parks: the saga cannot turn back', () => {
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

describe('a step before the pivot that goes forward only', () => {
  const s = shape(stepShape('pack', { forward: true }), stepShape('ship'))
  const stuck = [failed('pack', { terminal: true })]

  test('a step that an operator skips as done is undone when a later step turns the saga back', () => {
    const turned = play(s, ...stuck, operator({ do: 'skip', result: 'box' }), refused('ship'))
    expect(summary(turned.state)).toBe('compensating: compensating/call refused')
    expect(turned.state.steps[0]?.result).toBe('box')
    expect(summary(play(s, ...stuck, operator({ do: 'skip' }), ok('ship')).state)).toBe('completed: invoked invoked')
  })

  test('a reserving step that an operator skips as done is confirmed or cancelled like any other', () => {
    const held = shape(stepShape('hold', { forward: true, confirm: stepShape('hold').invoke }), stepShape('ship'))
    const skipped = [failed('hold', { terminal: true }), operator({ do: 'skip' })]
    expect(summary(play(held, ...skipped, ok('ship')).state)).toBe('running: confirming/call invoked')
    expect(summary(play(held, ...skipped, refused('ship')).state)).toBe('compensating: compensating/call refused')
  })

  test('a step of a sub-saga turns back when the saga is undone while it is stuck', () => {
    const parent = { name: 'outer', id: 'x', step: 'child', operation: 'invoke' as const, birth: 'b' }
    const parked = play(s, ...stuck).state
    expect(summary(parked)).toBe('stuck: invoking/operator pending')
    const undoing = advance(s, { ...parked, parent }, { type: 'undo' })
    expect(summary(undoing?.state as SagaState)).toBe('compensating: compensating/call pending')
    expect(undoing?.calls).toMatchObject([{ step: 'pack', operation: 'compensate' }])
  })
})
