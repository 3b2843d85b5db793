import { describe, expect, it } from 'vitest'
import type { Effect } from './bank.ts'
import { SAGA_INVARIANTS, type SagaInvariant } from './invariants.ts'
import { judge, type Known } from './judge.ts'
import type { TimelineLine } from './tables.ts'

const INPUT = { from: 'a', to: 'b', cents: 30, refusedBy: 'nobody' as const }

/** `e1-1` is completed; `e1-2` was refused by `credit` and undone. */
function timelineOf(...more: readonly TimelineLine[]): TimelineLine[] {
  const lines = (id: string, text: string): TimelineLine[] =>
    text.split(', ').map((line) => {
      const [kind = '', step = null] = line.split(' ')
      return { id, kind, step }
    })
  const steps = ['open', 'reserve', 'credit', 'book', 'settle']
  const forward = steps.map((step) => `invoking ${step}, invoked ${step}`).join(', ')
  return [
    ...lines('e1-1', `started, ${forward}, saga-completed`),
    ...lines('e1-2', 'started, invoking open, invoked open, invoking reserve, invoked reserve, invoking credit'),
    ...lines('e1-2', 'refused credit, compensating reserve, compensated reserve, compensating open, compensated open'),
    ...lines('e1-2', 'saga-compensated'),
    ...more,
  ]
}

function effect(id: string, step: string, operation: Effect['operation'] = 'invoke'): Effect {
  return { key: `transfer/${id}/${step}`, operation, worker: 'w' }
}

const EFFECTS = [
  ...['open', 'reserve', 'credit', 'book', 'settle'].map((step) => effect('e1-1', step)),
  ...['open', 'reserve'].flatMap((step) => [effect('e1-2', step), effect('e1-2', step, 'compensate')]),
]

function known(fields: Partial<Known> = {}): Known {
  return {
    asked: ['e1-1', 'e1-2'].map((id) => ({ id, input: INPUT })),
    sagas: [
      { id: 'e1-1', status: 'completed', tookMs: 5 },
      { id: 'e1-2', status: 'compensated', tookMs: 5 },
    ],
    timeline: timelineOf(),
    effects: EFFECTS,
    accounts: [
      { id: 'a', balance: 70, reserved: 0 },
      { id: 'b', balance: 130, reserved: 0 },
    ],
    funds: 100,
    withoutOwner: [],
    failures: [],
    ...fields,
  }
}

function violated(fields: Partial<Known> = {}): Record<string, readonly string[]> {
  const found = judge(known(fields)).filter(({ holds }) => !holds)
  return Object.fromEntries(found.map(({ invariant, evidence }) => [invariant, evidence]))
}

describe('the judge of sagas', () => {
  it('finds nothing wrong with a completed and an undone transfer, and judges every invariant', () => {
    expect(violated()).toEqual({})
    expect(
      judge(known())
        .map(({ invariant }) => invariant)
        .sort(),
    ).toEqual(Object.keys(SAGA_INVARIANTS).sort())
  })

  const at = (id: string, kind: string, step: string | null = null): TimelineLine => ({ id, kind, step })

  it.for<[string, SagaInvariant, Partial<Known>, string]>([
    [
      'a saga that is stuck',
      'each saga ends once',
      { sagas: [{ id: 'e1-1', status: 'stuck', tookMs: 5 }] },
      'e1-1: stuck',
    ],
    ['a saga that was lost', 'each saga ends once', { sagas: known().sagas.slice(1) }, 'e1-1: is not there'],
    [
      'a saga that ended twice',
      'each saga ends once',
      { timeline: timelineOf(at('e1-1', 'saga-completed')) },
      'e1-1: ended 2 times',
    ],
    ['a saga that nobody started', 'each saga ends once', { asked: known().asked.slice(1) }, '2 sagas, but only 1'],
    [
      'an effect that happened twice',
      'each effect once',
      { effects: [...EFFECTS, effect('e1-1', 'credit')] },
      'invoke of transfer/e1-1/credit 2 times: by w, w',
    ],
    [
      'a compensation that happened twice',
      'each effect once',
      { effects: [...EFFECTS, effect('e1-2', 'reserve', 'compensate')] },
      'compensate of transfer/e1-2/reserve 2 times: by w, w',
    ],
    [
      'a completed saga without one of its effects',
      'ends as it says',
      { effects: EFFECTS.slice(1) },
      'e1-1 is completed, and open is there 0 times',
    ],
    [
      'a compensated saga of which something is left',
      'ends as it says',
      { effects: EFFECTS.slice(0, -1) },
      'e1-2 is compensated, and reserve is there 1 times',
    ],
    [
      'an effect that nobody intended',
      'compensations match intents',
      { effects: [...EFFECTS, effect('e1-2', 'book')] },
      'invoke of transfer/e1-2/book without an intent',
    ],
    [
      'an undo of what was never done',
      'compensations match intents',
      { effects: [...EFFECTS, effect('e1-2', 'credit', 'compensate')] },
      'transfer/e1-2/credit was undone and never done',
    ],
    [
      'a compensation whose step was not intended before',
      'compensations match intents',
      { timeline: timelineOf(at('e1-2', 'compensating', 'book')) },
      'e1-2: book was undone before it was intended',
    ],
    [
      'money that was made',
      'money is constant',
      { accounts: [known().accounts[0] as never, { id: 'b', balance: 160, reserved: 0 }] },
      '200 were paid in, 230 are there',
    ],
    [
      'money on the wrong account',
      'money is constant',
      {
        accounts: [
          { id: 'a', balance: 100, reserved: 0 },
          { id: 'b', balance: 100, reserved: 0 },
        ],
      },
      'a has 100, by its sagas it should have 70',
    ],
    [
      'money that is still reserved',
      'money is constant',
      { accounts: [{ id: 'a', balance: 60, reserved: 10 }, known().accounts[1] as never] },
      'a: 10 are still reserved',
    ],
    ['a saga that nobody had', 'never without owner', { withoutOwner: ["e1-1 is nobody's"] }, "e1-1 is nobody's"],
    ['a process that ended by itself', 'no process fails', { failures: ['w ended'] }, 'w ended'],
  ])('finds %s', ([, invariant, fields, evidence]) => {
    expect(violated(fields)[invariant]).toContainEqual(expect.stringContaining(evidence))
  })
})
