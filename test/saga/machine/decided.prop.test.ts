/**
 * Sagas whose calls mostly work, so that they get to their decision and past it: there answers are late, doubled, lost or a no,
 * people cancel, and confirmations hang.
 */

import type { SagaState } from 'concordat/saga'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advance, initialState, type SagaEvent } from '../../support/inside/saga.ts'
import { inputs } from '../../support/suite/night.ts'
import { freeze, OPEN, OPENS, Referee } from '../support/referee.ts'
import { policy, shape, stepShape } from '../support/shape.ts'

const error = { code: 'x', message: 'x' }
const by = { by: 'me', reason: 'test' }
const OPERATIONS = ['invoke', 'confirm', 'compensate'] as const

/** Event for one of the open steps, or for the saga. */
type Turn = 'works' | 'fails' | 'says no' | 'is late' | 'again' | 'cancelled' | 'undone' | 'retried' | 'skipped'

const KINDS = ['reserve', 'reserve', 'reserve there', 'reserve there', 'call', 'send', 'wait'] as const
const sagas = fc
  .record({
    kinds: fc.array(fc.constantFrom(...KINDS), { minLength: 2, maxLength: 4 }),
    after: fc.constantFrom('no pivot', 'pivot', 'pivot and more'),
    grouped: fc.boolean(),
  })
  .map(({ kinds, after, grouped }) => {
    const group = grouped ? 0 : undefined
    const steps = kinds.map((kind, n) => {
      const remote = kind === 'reserve there' || kind === 'send'
      const name = 'abcd'[n] as string
      if (kind === 'wait') {
        return stepShape(name, { awaits: 'signal', transactional: true, compensates: false, group })
      }
      const confirm = kind.startsWith('reserve')
        ? { ...policy(2), ...(remote && ({ patient: true } as const)) }
        : undefined
      return stepShape(name, { remote, confirm, group })
    })
    const pivot = after === 'no pivot' ? [] : [stepShape('pivot', { pivot: true, compensates: false })]
    const more = after === 'pivot and more' ? [stepShape('more', { compensates: false })] : []
    return shape(...steps, ...pivot, ...more)
  })

const turns = fc.array(
  fc.record({
    turn: fc.oneof(
      { weight: 12, arbitrary: fc.constant<Turn>('works') },
      { weight: 3, arbitrary: fc.constantFrom<Turn>('fails', 'is late', 'again') },
      fc.constantFrom<Turn>('says no', 'cancelled', 'undone', 'retried', 'skipped'),
    ),
    pick: fc.nat(3),
  }),
  { minLength: 15, maxLength: 30 },
)

function eventOf(state: SagaState, turn: Turn, pick: number, last: SagaEvent): SagaEvent {
  const open = state.steps.filter(({ status }) => OPEN.includes(status))
  const { step = 'a', status, wait } = open[pick % Math.max(1, open.length)] ?? {}
  const operation = OPERATIONS.find((candidate) => OPENS[candidate] === status) ?? 'invoke'
  switch (turn) {
    case 'works':
      if (wait === 'time' || wait === 'retry') return { type: 'due' }
      return wait === 'signal' ? { type: 'signalled', step } : { type: 'succeeded', step, operation }
    case 'fails':
      return { type: 'failed', step, operation, error, terminal: pick === 0 }
    case 'says no':
      return { type: 'refused', step, operation, error }
    case 'is late':
      return { type: 'due' }
    case 'again':
      return last
    case 'cancelled':
      return { type: 'operator', action: { do: 'cancel' }, ...by }
    case 'undone':
      return { type: 'undo' }
    case 'retried':
      return { type: 'operator', action: { do: 'retry' }, ...by }
    case 'skipped':
      return { type: 'operator', action: { do: 'skip' }, ...by }
  }
}

describe('a saga that reserves', () => {
  test('confirms all or cancels all, never both, under any events in any order', () => {
    let confirmed = 0
    fc.assert(
      fc.property(fc.noBias(sagas), fc.boolean(), fc.noBias(turns), (saga, isChild, played) => {
        const referee = new Referee(saga)
        let last: SagaEvent = { type: 'started' }
        const parent = { name: 'outer', id: 'x', step: 's', operation: 'invoke' as const, birth: 'b' }
        let state = freeze({
          ...initialState(saga),
          ...(isChild && !saga.steps.some(({ pivot }) => pivot) && { parent }),
        })
        for (const { turn, pick } of [{ turn: undefined, pick: 0 }, ...played]) {
          last = turn === undefined ? last : eventOf(state, turn, pick, last)
          const transition = advance(saga, state, last)
          if (transition === undefined) continue
          referee.check(state, transition)
          state = freeze(transition.state)
          const asked = transition.calls.filter(({ operation }) => operation === 'confirm')
          if (asked.length > 1) confirmed++
        }
      }),
      { numRuns: inputs(600) },
    )
    expect(confirmed, 'several were confirmed together').toBeGreaterThan(10)
  })
})
