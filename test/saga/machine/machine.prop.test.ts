import {
  advance,
  type Call,
  initialState,
  type Operation,
  type SagaEvent,
  type SagaShape,
  type SagaState,
  type Transition,
} from 'concordat/saga'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { policy, stepShape } from '../support/shape.ts'

const NAMES = ['a', 'b', 'c', 'd']
const error = { code: 'x', message: 'x' }

const shapes: fc.Arbitrary<SagaShape> = fc
  .record({
    steps: fc.array(
      fc.record({
        remote: fc.boolean(),
        transactional: fc.boolean(),
        compensates: fc.boolean(),
        attempts: fc.nat(2),
        conditional: fc.boolean(),
        grouped: fc.boolean(),
        awaits: fc.option(fc.constantFrom('time' as const, 'signal' as const), { nil: undefined, freq: 4 }),
      }),
      { minLength: 1, maxLength: NAMES.length },
    ),
    pivot: fc.option(fc.nat(3)),
  })
  .map(({ steps, pivot }) => ({
    steps: steps.map(({ remote, transactional, compensates, attempts, awaits, conditional, grouped }, index) =>
      stepShape(NAMES[index] as string, {
        remote: remote && awaits === undefined,
        transactional: awaits !== undefined || (transactional && !remote),
        awaits,
        conditional: conditional && index !== pivot,
        group:
          grouped && (pivot === null || index < pivot)
            ? steps.findLastIndex((s, n) => n <= index && !s.grouped) + 1
            : undefined,
        pivot: index === pivot && awaits === undefined,
        compensates: compensates && awaits === undefined && (pivot === null || index < pivot),
        invoke: policy(attempts + 1),
        compensate: policy(attempts + 1),
      }),
    ),
  }))

const step = fc.constantFrom(...NAMES)
const operation = fc.constantFrom<Operation>('invoke', 'compensate')
const outsideEvents: fc.Arbitrary<SagaEvent> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('succeeded' as const), step, operation, result: fc.nat() }) },
  fc.record({ type: fc.constant('refused' as const), step, operation, error: fc.constant(error) }),
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('failed' as const),
      step,
      operation,
      error: fc.constant(error),
      terminal: fc.boolean(),
      attempt: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    }),
  },
  { weight: 3, arbitrary: fc.constant<SagaEvent>({ type: 'due' }) },
  fc.constant<SagaEvent>({ type: 'started' }),
  fc.constant<SagaEvent>({ type: 'resumed' }),
  fc.record({ type: fc.constant('yielded' as const), step }),
  fc.constant<SagaEvent>({ type: 'expired' }),
  fc.record({ type: fc.constant('omitted' as const), step }),
  fc.record({ type: fc.constant('armed' as const), step, ms: fc.nat(100) }),
  { weight: 2, arbitrary: fc.record({ type: fc.constant('signalled' as const), step, payload: fc.nat() }) },
)
const operatorEvents: fc.Arbitrary<SagaEvent> = fc
  .constantFrom(
    { do: 'retry' as const },
    { do: 'skip' as const },
    { do: 'compensate' as const },
    { do: 'cancel' as const },
  )
  .map((action) => ({ type: 'operator', action, by: 'me', reason: 'test' }))

/** Follows the calls that the machine asks for, and fails when one breaks a rule. */
class Referee {
  readonly invoked = new Set<string>()
  readonly undone: string[] = []
  readonly #shape: SagaShape

  constructor(shape: SagaShape) {
    this.#shape = shape
  }

  check(before: SagaState, { state, calls, wake }: Transition): void {
    const open = state.steps.filter(({ status }) => status === 'invoking' || status === 'compensating')
    const ended = state.status === 'completed' || state.status === 'compensated'
    if (!ended) expect(open.length).toBeGreaterThan(0)
    if (open.length > 1) {
      const group = new Set(open.map(({ step, status }) => `${status} ${this.#group(step)}`))
      expect([...group]).toEqual([expect.stringMatching(/^invoking \d$/)])
    }
    const inHand = open.filter(({ wait }) => wait === 'call').map(({ step }) => step)
    const asked = calls.filter(({ step }) => inHand.includes(step))
    if (wake.kind === 'keep') this.#checkKept(before, state, inHand)
    else if (ended || state.status === 'stuck') expect(wake.kind).toBe('never')
    else if (wake.kind === 'lease') expect(asked).not.toEqual([])
    else expect([wake.kind, inHand]).toEqual(['in', []])
    if (state.status === 'stuck') expect(open[0]?.wait).toBe('operator')
    for (const call of calls) this.#checkCall(before, state, call)
    if (state.status === 'completed') this.#checkCompleted(state)
    if (state.status === 'compensated') this.#checkCompensated(state)
  }

  #group(name: string): number | undefined {
    return this.#shape.steps.find((candidate) => candidate.name === name)?.group
  }

  /** Who has it in hand, or what it waits for, is as before. */
  #checkKept(before: SagaState, state: SagaState, inHand: readonly string[]): void {
    expect(state.status).toBe(before.status)
    const wereInHand = before.steps.filter(({ wait }) => wait === 'call').map(({ step }) => step)
    for (const step of inHand) expect(wereInHand).toContain(step)
    if (inHand.length > 0) return
    const waits = ({ steps }: SagaState): unknown[] =>
      steps.map(({ status, wait, attempts }) => [status, wait, attempts])
    expect(waits(state)).toEqual(waits(before))
  }

  #checkCall(before: SagaState, state: SagaState, call: Call): void {
    const record = state.steps[call.index]
    expect(record).toMatchObject({ step: call.step, attempts: call.attempt })
    expect(record?.status).toBe(call.operation === 'invoke' ? 'invoking' : 'compensating')
    const { compensates, invoke } = this.#shape.steps[call.index] ?? stepShape('')
    if (call.operation === 'invoke') {
      this.invoked.add(call.step)
      expect(call.attempt).toBeLessThanOrEqual(invoke.maxAttempts)
      expect(before.status).not.toBe('compensating')
      expect(before.cancel, 'nothing is begun any more').toBeUndefined()
      return
    }
    expect(compensates).toBe(true)
    for (const { status } of state.steps) expect(status, 'nothing is undone while something runs').not.toBe('invoking')
    expect(this.invoked, 'compensation without intent').toContain(call.step)
    for (const { status } of state.steps.slice(call.index + 1)) expect(status).not.toBe('compensating')
    if (before.steps[call.index]?.status !== 'compensating') this.undone.push(call.step)
    expect(new Set(this.undone).size, 'compensated once').toBe(this.undone.length)
    expect([...this.undone].toSorted().toReversed(), 'in reverse order').toEqual(this.undone)
    const pivot = this.#shape.steps.findIndex((candidate) => candidate.pivot)
    if (pivot !== -1) expect(state.steps[pivot]?.status, 'no way back after the pivot').not.toBe('invoked')
  }

  #checkCompleted({ steps, failure }: SagaState): void {
    expect(failure).toBeUndefined()
    for (const { status } of steps) expect(['invoked', 'skipped', 'omitted']).toContain(status)
  }

  #checkCompensated({ steps, failure }: SagaState): void {
    expect(failure).toBeDefined()
    for (const [index, { status }] of steps.entries()) {
      if (this.#shape.steps[index]?.compensates === true) expect(['invoked', 'unknown']).not.toContain(status)
      expect(['invoking', 'compensating']).not.toContain(status)
    }
  }
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const field of Object.values(value)) freeze(field)
  }
  return value
}

/** @param elapsedMs between one event and the next, in turn */
function play(
  shape: SagaShape,
  events: readonly SagaEvent[],
  elapsedMs: readonly number[] = [],
): { state: SagaState; referee: Referee } {
  const referee = new Referee(shape)
  let state = freeze(initialState(shape))
  for (const [n, event] of [{ type: 'started' } as const, ...events].entries()) {
    const ended = state.status === 'completed' || state.status === 'compensated'
    const transition = advance(shape, state, event, 0, elapsedMs[n % elapsedMs.length])
    if (ended) expect(transition, 'an ended saga hears nothing').toBeUndefined()
    if (transition === undefined) continue
    referee.check(state, transition)
    state = freeze(transition.state)
  }
  return { state, referee }
}

describe('the machine', () => {
  test('stays legal under any events in any order, repeated or not', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.array(fc.oneof({ weight: 9, arbitrary: outsideEvents }, operatorEvents)),
        fc.array(fc.constantFrom(0, 7, 1_000), { minLength: 1, maxLength: 5 }),
        (s, events, elapsedMs) => void play(s, events, elapsedMs),
      ),
      { numRuns: 3_000 },
    )
  })

  test('ends from every reachable state when calls work from then on and an operator retries what is stuck', () => {
    fc.assert(
      fc.property(shapes, fc.array(outsideEvents, { maxLength: 30 }), (s, events) => {
        const { state, referee } = play(s, events)
        let current = state
        for (let n = 0; n < 40 && current.status !== 'completed' && current.status !== 'compensated'; n++) {
          const event = help(current)
          const transition = advance(s, current, event)
          expect(transition, `${JSON.stringify(event)} in ${JSON.stringify(current)}`).toBeDefined()
          referee.check(current, transition as Transition)
          current = (transition as Transition).state
        }
        expect(['completed', 'compensated']).toContain(current.status)
      }),
      { numRuns: 2_000 },
    )
  })

  test('hearing an event twice is hearing it once', () => {
    fc.assert(
      fc.property(shapes, fc.array(outsideEvents, { maxLength: 30 }), (s, events) => {
        const answers = events.filter(({ type }) => type === 'succeeded' || type === 'refused')
        const doubled = answers.flatMap((event) => [event, event])
        expect(play(s, doubled).state).toEqual(play(s, answers).state)
      }),
      { numRuns: 1_000 },
    )
  })
})

/** What a world without faults does next. */
function help(state: SagaState): SagaEvent {
  const open = state.steps.find(({ status }) => status === 'invoking' || status === 'compensating')
  if (open?.wait === 'time') return { type: 'due' }
  if (open?.wait === 'signal') return { type: 'signalled', step: open.step, payload: 1 }
  if (open?.wait === 'retry') return { type: 'due' }
  if (open?.wait === 'operator') return { type: 'operator', action: { do: 'retry' }, by: 'me', reason: 'fixed' }
  const { step: name = '', status } = open ?? {}
  return { type: 'succeeded', step: name, operation: status === 'invoking' ? 'invoke' : 'compensate' }
}
