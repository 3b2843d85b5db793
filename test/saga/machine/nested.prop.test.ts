/** A saga and a sub-saga on the pure machine: with any operator actions, neither hangs permanently. */

import type { SagaState } from 'concordat/saga'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { advance, initialState, type SagaEvent, type SagaShape } from '../../support/inside/saga.ts'
import { inputs } from '../../support/suite/night.ts'
import { shape, stepShape } from '../support/shape.ts'

const OUTER = shape(
  stepShape('child', { remote: true, timeoutMs: Number.POSITIVE_INFINITY }),
  stepShape('wait', { awaits: 'signal', transactional: true, compensates: false, timeoutMs: Number.POSITIVE_INFINITY }),
)
const error = { code: 'x', message: 'x' }
const by = { by: 'me', reason: 'test' }

/** Both sagas, and the messages between them: each arrives once, in order, as the coordinator delivers them. */
class Family {
  outer: SagaState
  inner: SagaState
  /** Effects of the inner steps that stand. */
  readonly effects = new Set<string>()
  readonly #shape: SagaShape

  constructor(inner: SagaShape) {
    this.#shape = inner
    this.outer = (advance(OUTER, initialState(OUTER), { type: 'started' }) as { state: SagaState }).state
    const parent = { name: 'outer', id: 'x', step: 'child', operation: 'invoke' as const, birth: 'b' }
    this.inner = { ...initialState(inner), parent }
    this.hear('inner', { type: 'started' })
  }

  hear(who: 'outer' | 'inner', event: SagaEvent): boolean {
    const isInner = who === 'inner'
    const before = this[who]
    if (isInner && event.type === 'succeeded') this.#effect(event)
    const next = advance(isInner ? this.#shape : OUTER, before, event)
    if (next === undefined) return false
    this[who] = next.state
    if (isInner) this.#report(before)
    else if (next.calls.some(({ operation }) => operation === 'compensate')) this.#order()
    return true
  }

  /** Applies the outcome of the inner saga's open local call. */
  #effect({ step, operation }: Extract<SagaEvent, { type: 'succeeded' }>): void {
    const open = this.inner.steps.find((each) => each.step === step)
    if (open?.wait !== 'call') return
    if (operation === 'invoke' && open.status === 'invoking') this.effects.add(step)
    if (operation === 'compensate' && open.status === 'compensating') this.effects.delete(step)
  }

  #report(before: SagaState): void {
    const { status, parent } = this.inner
    if ((status !== 'completed' && status !== 'compensated') || status === before.status) return
    const operation = parent?.operation ?? 'invoke'
    const good = operation === 'invoke' ? 'completed' : 'compensated'
    if (status === good) this.hear('outer', { type: 'succeeded', step: 'child', operation, result: {} })
    else if (operation === 'invoke') this.hear('outer', { type: 'refused', step: 'child', operation, error })
    else this.hear('outer', { type: 'failed', step: 'child', operation, error, terminal: true })
  }

  /** A compensated one has nothing to undo: the answer is at hand. */
  #order(): void {
    if (this.inner.status !== 'compensated') this.hear('inner', { type: 'undo' })
    else this.hear('outer', { type: 'succeeded', step: 'child', operation: 'compensate' })
  }
}

/** The next thing that a good world and a patient operator do; the innermost first. */
function help(family: Family): void {
  for (const who of ['inner', 'outer'] as const) {
    const open = family[who].steps.find(({ status }) => status === 'invoking' || status === 'compensating')
    const { status } = family[who]
    if (open === undefined || status === 'completed' || status === 'compensated') continue
    const operation = open.status === 'invoking' ? 'invoke' : 'compensate'
    if (open.wait === 'operator') return void family.hear(who, { type: 'operator', action: { do: 'retry' }, ...by })
    if (open.wait === 'retry') return void family.hear(who, { type: 'due' })
    if (open.wait === 'call') return void family.hear(who, { type: 'succeeded', step: open.step, operation, result: 1 })
    if (open.wait === 'signal') return void family.hear(who, { type: 'signalled', step: open.step })
  }
}

const inner = fc
  .array(fc.record({ transactional: fc.boolean() }), { minLength: 1, maxLength: 3 })
  .map((steps) => shape(...steps.map(({ transactional }, n) => stepShape('abc'[n] as string, { transactional }))))
const who = fc.constantFrom('outer' as const, 'inner' as const)
const actions = fc.constantFrom(
  { do: 'retry' as const },
  { do: 'cancel' as const },
  { do: 'resolve' as const, outcome: 'completed' as const },
  { do: 'resolve' as const, outcome: 'compensated' as const },
)
const events = fc.oneof(
  { weight: 3, arbitrary: fc.record({ who, action: actions }) },
  { weight: 4, arbitrary: fc.constantFrom('works' as const, 'fails' as const, 'refuses' as const) },
)

function play(family: Family, happening: typeof events extends fc.Arbitrary<infer T> ? T : never): boolean {
  if (typeof happening !== 'string') {
    const { action } = happening
    // Settled by hand as compensated: then a person has seen to the effects.
    const heard = family.hear(happening.who, { type: 'operator', action, ...by })
    const byHand = action.do === 'resolve' && action.outcome === 'compensated' && happening.who === 'inner'
    if (heard && byHand) family.effects.clear()
    return heard
  }
  const open = family.inner.steps.find(({ wait }) => wait === 'call')
  if (open === undefined) return false
  const operation = open.status === 'invoking' ? 'invoke' : 'compensate'
  const { step } = open
  if (happening === 'works') return family.hear('inner', { type: 'succeeded', step, operation, result: 1 })
  if (happening === 'refuses') return family.hear('inner', { type: 'refused', step, operation, error })
  return family.hear('inner', { type: 'failed', step, operation, error, terminal: true })
}

test('a saga and its outer saga end, with any resolve, cancel and retry by operators, and a compensated pair leaves nothing', () => {
  fc.assert(
    fc.property(inner, fc.array(events, { maxLength: 25 }), (innerShape, happenings) => {
      const family = new Family(innerShape)
      let resolvedOuter = false
      for (const happening of happenings) {
        const heard = play(family, happening)
        if (heard && typeof happening !== 'string' && happening.who === 'outer' && happening.action.do === 'resolve')
          resolvedOuter = true
      }
      for (let n = 0; n < 60; n++) help(family)
      const text = JSON.stringify(family)
      expect(['completed', 'compensated'], text).toContain(family.outer.status)
      expect(['completed', 'compensated'], text).toContain(family.inner.status)
      if (family.outer.status === 'compensated' && !resolvedOuter) expect([...family.effects], text).toEqual([])
    }),
    { numRuns: inputs(3_000) },
  )
})
