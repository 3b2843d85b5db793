/** Any saga, and what must hold for each transition of one: for property tests of the pure machine. */

import type { SagaState } from 'concordat/saga'
import fc from 'fast-check'
import { expect } from 'vitest'
import type { Call, SagaShape, StepShape, Transition } from '../../support/inside/saga.ts'
import { policy, stepShape } from './shape.ts'

export const NAMES = ['a', 'b', 'c', 'd']

export const shapes: fc.Arbitrary<SagaShape> = fc
  .record({
    steps: fc.array(
      fc.record({
        remote: fc.boolean(),
        transactional: fc.boolean(),
        compensates: fc.boolean(),
        attempts: fc.nat(2),
        conditional: fc.boolean(),
        grouped: fc.boolean(),
        confirms: fc.boolean(),
        awaits: fc.option(fc.constantFrom('time' as const, 'signal' as const), { nil: undefined, freq: 4 }),
        each: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined, freq: 4 }),
        forward: fc.nat(4).map((n) => n === 0),
      }),
      { minLength: 1, maxLength: NAMES.length },
    ),
    pivot: fc.option(fc.nat(3)),
    chooser: fc.option(fc.nat(2)),
  })
  .map(({ steps, pivot, chooser }) => ({
    steps: steps.map((facts, index) => {
      const { attempts, confirms, each } = facts
      const firstOfGroup = (until: number): number =>
        steps.findLastIndex((step, n) => n <= until && (!step.grouped || n === pivot)) + 1
      const isAlone = index === pivot || !facts.grouped
      const plain = plainStep(facts, index, pivot, isAlone ? undefined : firstOfGroup(index))
      if (index === chooser && index !== pivot) return { ...plain, ...PLANS, chooses: ['x', 'y'], ...isChoosing(plain) }
      const choices = chooser !== null && index > chooser && chooser !== pivot ? choicesOf(index, chooser, pivot) : {}
      const isList = each !== undefined && index !== pivot
      const confirmed = withConfirmation(
        confirms && plain.awaits === undefined && (pivot === null || index < pivot),
        attempts,
        plain,
      )
      if (!isList) return { ...confirmed, ...choices }
      const { conditional, group, forward, ...item } = confirmed
      const placed = { conditional, group, forward }
      return {
        ...plain,
        ...PLANS,
        ...placed,
        ...choices,
        each: { item: { ...item, conditional: undefined }, atOnce: each },
      }
    }),
  }))

/** Steps with waits, by the definition's options. */
const PLANS = {
  awaits: 'plan',
  remote: false,
  transactional: true,
  compensates: false,
  pivot: false,
  invoke: policy(1),
} as const

/** A choice stands alone. */
function isChoosing({ conditional, forward }: StepShape): Partial<StepShape> {
  return { conditional, forward, group: undefined }
}

/** The first step after the choice is in one branch, the second in the other; the pivot in none. */
function choicesOf(index: number, chooser: number, pivot: number | null): Partial<StepShape> {
  if (index > chooser + 2 || index === pivot) return {}
  return { choices: [{ of: NAMES[chooser] as string, is: index === chooser + 1 ? 'x' : 'y' }], group: undefined }
}

interface Facts {
  readonly remote: boolean
  readonly transactional: boolean
  readonly compensates: boolean
  readonly attempts: number
  readonly conditional: boolean
  readonly awaits: 'time' | 'signal' | undefined
  readonly forward: boolean
}

function plainStep(facts: Facts, index: number, pivot: number | null, group: number | undefined): StepShape {
  const { remote, transactional, compensates, attempts, awaits, conditional, forward } = facts
  const isBefore = pivot === null || index < pivot
  return stepShape(NAMES[index] as string, {
    remote: remote && awaits === undefined,
    transactional: awaits !== undefined || (transactional && !remote),
    awaits,
    conditional: conditional && index !== pivot,
    group,
    forward: forward && isBefore ? true : undefined,
    pivot: index === pivot && awaits === undefined,
    compensates: compensates && awaits === undefined && isBefore,
    invoke: policy(attempts + 1),
    compensate: policy(attempts + 1),
  })
}

/** Returns a plan for a step before the pivot that can be compensated, and whose effect elsewhere is uncertain. */
function withConfirmation(confirms: boolean, attempts: number, plain: StepShape): StepShape {
  if (!confirms) return plain
  const patient = plain.remote && attempts === 2 ? ({ patient: true } as const) : {}
  return { ...plain, transactional: false, compensates: true, confirm: { ...policy(attempts + 1), ...patient } }
}

/** The status of a step, by its open operation. */
export const OPENS = { invoke: 'invoking', confirm: 'confirming', compensate: 'compensating' } as const
export const OPEN: readonly string[] = Object.values(OPENS)
/** Possible states of a finished step in a decided saga. */
const DONE: readonly string[] = ['invoked', 'confirming', 'confirmed', 'skipped', 'omitted']

/** Follows the calls that the machine asks for, and fails when one breaks a rule. */
export class Referee {
  readonly invoked = new Set<string>()
  readonly undone: string[] = []
  readonly #shape: SagaShape

  constructor(shape: SagaShape) {
    this.#shape = shape
  }

  check(before: SagaState, { state, calls, wake }: Transition): void {
    const open = state.steps.filter(({ status }) => OPEN.includes(status))
    const ended = state.status === 'completed' || state.status === 'compensated'
    if (!ended) expect(open.length).toBeGreaterThan(0)
    if (open.length > 1) {
      const group = open.map(({ step, status }) =>
        status === 'confirming' ? status : `${status} ${this.#group(state, step)}`,
      )
      expect([...new Set(group)]).toEqual([expect.stringMatching(/^(invoking (\d|of [a-d])|confirming)$/)])
    }
    const inHand = open.filter(({ wait }) => wait === 'call').map(({ step }) => step)
    const asked = calls.filter(({ step }) => inHand.includes(step))
    if (wake.kind === 'keep') this.#checkKept(before, state, inHand)
    else if (ended || state.status === 'stuck') expect(wake.kind).toBe('never')
    else if (wake.kind === 'lease') expect(asked).not.toEqual([])
    else expect([wake.kind, inHand]).toEqual(['in', []])
    const parked = open.filter(({ wait }) => wait === 'operator')
    const called = open.filter(
      ({ wait, leftMs }) =>
        wait === 'call' || wait === 'retry' || wait === 'plan' || (wait === 'reply' && leftMs !== undefined),
    )
    expect(state.status === 'stuck', 'stuck exactly when an operator is waited for, and nothing is called').toBe(
      !ended && parked.length > 0 && called.length === 0,
    )
    this.#checkLists(before, state)
    for (const call of calls) this.#checkCall(before, state, call)
    if (state.status === 'completed') this.#checkCompleted(state)
    if (state.status === 'compensated') this.#checkCompensated(state)
  }

  #group(state: SagaState, name: string): number | string | undefined {
    const index = state.steps.findIndex(({ step }) => step === name)
    const list = state.steps[index]?.branch
    return this.#shapes(state)[index]?.group ?? (list === undefined ? undefined : `of ${list}`)
  }

  #shapes({ steps }: SagaState): readonly StepShape[] {
    let next = 0
    return steps.map(({ branch }) => {
      if (branch === undefined) return this.#shape.steps[next++] as StepShape
      const list = this.#shape.steps.find(({ name }) => name === branch)
      return { ...(list?.each?.item as StepShape), group: list?.group, choices: list?.choices }
    })
  }

  /** Checks that a list has no more open steps than its limit, and that planned ones stay the same. */
  #checkLists(before: SagaState, state: SagaState): void {
    for (const { name, each } of this.#shape.steps) {
      if (each === undefined) continue
      const items = state.steps.filter(({ branch }) => branch === name)
      const open = items.filter(({ status }) => status === 'invoking')
      expect(open.length).toBeLessThanOrEqual(each.atOnce)
      const planned = before.steps.filter(({ branch }) => branch === name)
      if (planned.length === 0) continue
      const fixed = ({ step, payload }: SagaState['steps'][number]): unknown => ({ step, payload })
      expect(items.map(fixed)).toEqual(planned.map(fixed))
    }
  }

  /** Checks that a branch that was not chosen never starts. */
  #checkChoice(state: SagaState, call: Call): void {
    for (const { of, is } of this.#shapes(state)[call.index]?.choices ?? []) {
      expect(state.steps.find(({ step }) => step === of)).toMatchObject({ status: 'invoked', result: is })
    }
  }

  /** Checks that owner and wait of each step stay the same. */
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
    expect(record?.status).toBe(OPENS[call.operation])
    if (call.operation === 'confirm') return this.#checkConfirmation(before, state, call)
    const { compensates, invoke, awaits } = this.#shapes(state)[call.index] ?? stepShape('')
    if (awaits !== 'plan') this.#checkChoice(state, call)
    if (call.operation === 'invoke') {
      this.invoked.add(call.step)
      expect(call.attempt).toBeLessThanOrEqual(invoke.maxAttempts)
      expect(before.status).not.toBe('compensating')
      expect(before.cancel, 'nothing is begun any more').toBeUndefined()
      return
    }
    expect(compensates).toBe(true)
    for (const { status } of state.steps) expect(['confirming', 'confirmed']).not.toContain(status)
    for (const { status } of state.steps) expect(status, 'nothing is undone while something runs').not.toBe('invoking')
    expect(this.invoked, 'compensation without intent').toContain(call.step)
    for (const { status } of state.steps.slice(call.index + 1)) expect(status).not.toBe('compensating')
    if (before.steps[call.index]?.status !== 'compensating') this.undone.push(call.step)
    expect(new Set(this.undone).size, 'compensated once').toBe(this.undone.length)
    expect([...this.undone].toSorted().toReversed(), 'in reverse order').toEqual(this.undone)
    const pivot = this.#shapes(state).findIndex((candidate) => candidate.pivot)
    if (pivot !== -1) expect(state.steps[pivot]?.status, 'no way back after the pivot').not.toBe('invoked')
  }

  /**
   * Checks that only reserved steps are confirmed, when all steps before the decision are done, and none was turned
   * back.
   */
  #checkConfirmation(before: SagaState, state: SagaState, call: Call): void {
    const steps = this.#shapes(state)
    expect(steps[call.index]?.confirm).toBeDefined()
    expect(state.steps[call.index]?.reserved, 'confirmed without a reservation').toBe(true)
    expect(before.status).not.toBe('compensating')
    expect([before.cancel, this.undone]).toEqual([undefined, []])
    const pivot = steps.findIndex((candidate) => candidate.pivot)
    const decided = state.steps.slice(0, pivot === -1 ? undefined : pivot + 1)
    for (const { status } of decided) expect(DONE).toContain(status)
    const later = pivot === -1 ? [] : state.steps.slice(pivot + 1)
    for (const { status } of later) expect(['pending', 'invoked', 'omitted']).toContain(status)
  }

  #checkCompleted(state: SagaState): void {
    const { steps, failure } = state
    expect(failure).toBeUndefined()
    const shapes = this.#shapes(state)
    for (const [index, { status }] of steps.entries()) {
      const isConfirmed = shapes[index]?.confirm !== undefined
      expect(isConfirmed ? ['confirmed', 'skipped', 'omitted'] : ['invoked', 'skipped', 'omitted']).toContain(status)
    }
  }

  #checkCompensated(state: SagaState): void {
    const { steps, failure } = state
    expect(failure).toBeDefined()
    const shapes = this.#shapes(state)
    for (const [index, { status }] of steps.entries()) {
      if (shapes[index]?.compensates === true) expect(['invoked', 'unknown']).not.toContain(status)
      expect(['confirmed', ...OPEN]).not.toContain(status)
    }
  }
}

export function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const field of Object.values(value)) freeze(field)
  }
  return value
}
