import { describe, expect, it } from 'vitest'
import type { Event } from '../harness/events.ts'
import type { Remains } from '../store/arena.ts'
import type { ElectionFault } from './faults.ts'
import type { ElectionInvariant } from './invariants.ts'
import { judge } from './judge.ts'

const fault: ElectionFault = { name: 'test', what: '', act: () => Promise.reject(new Error('not played')) }

/** Violations in an episode that left these events; `leadership goes on` is left out where it is not the point. */
function violated(events: readonly Event[], more: Partial<ElectionFault> = {}): ElectionInvariant[] {
  const remains: Remains<ElectionFault> = {
    fault: { ...fault, ...more },
    events: events.toSorted((a, b) => a.at - b.at),
    ledgers: new Map(),
    orphans: [],
    happened: 'yes',
    healedAt: 0,
    lagMs: 0,
    history: '',
  }
  const names = judge(remains)
    .verdicts.filter(({ holds }) => !holds)
    .map(({ invariant }) => invariant as ElectionInvariant)
  return names.filter((name) => name !== 'leadership goes on')
}

function member(watcher: string, version: number, event: string, instance: string, generation = 1): Event {
  return { at: version, process: `${watcher}.0`, type: 'note', op: 'member', event, version, instance, generation }
}

function state(at: number, fields: Partial<Event>, answer: Partial<Event>): Event[] {
  const shared = { process: 'as.0', op: 'state', id: `state ${at}`, key: 'k', ...fields }
  return [
    { ...shared, at, type: 'invoke' },
    { ...shared, at: at + 1, type: 'ok', ...answer },
  ]
}

function heard(watcher: string, version: number, value: number): Event {
  const changes = [['k', value]]
  return { at: version, process: `${watcher}s.0`, type: 'note', op: 'state heard', event: 'change', version, changes }
}

function term(who: string, asked: number, granted: number, ended: number, reason: string, token = granted): Event[] {
  const shared = { process: `${who}.0`, grant: `${who}/${granted}`, key: 'k', mode: 'exclusive', token }
  return [
    { ...shared, at: asked, type: 'invoke', op: 'acquire', id: `acquire ${who} ${asked}` },
    { ...shared, at: granted, type: 'ok', op: 'acquire', id: `acquire ${who} ${asked}`, until: granted + 900 },
    { ...shared, at: ended, type: 'invoke', op: 'release', id: `release ${who} ${asked}`, text: reason },
    { ...shared, at: ended + 5, type: 'ok', op: 'release', id: `release ${who} ${asked}`, outcome: reason },
  ]
}

describe('the judge of terms', () => {
  it('finds nothing in a hand-over, and finds two simultaneous leaders', () => {
    expect(violated([...term('a', 0, 10, 300, 'resigned'), ...term('b', 5, 310, 400, 'closed')])).toEqual([])
    expect(violated([...term('a', 0, 10, 300, 'lost'), ...term('b', 5, 200, 400, 'closed')])).toContain('one leads')
  })

  it('finds a hand-over that was not woken', () => {
    const slow = [...term('a', 0, 10, 300, 'resigned'), ...term('b', 5, 1_400, 1_500, 'closed')]
    expect(violated(slow)).toEqual(['hand-over is prompt'])
  })

  it('finds a term that begins before the handlers of the last one have ended', () => {
    const first = term('a', 0, 10, 300, 'resigned')
    expect(violated([...first, ...term('a', 301, 303, 400, 'closed')])).toContain('alternate')
  })

  it('finds a term that is given twice', () => {
    expect(violated([...term('a', 0, 10, 300, 'resigned'), ...term('b', 5, 310, 400, 'closed', 10)])).toContain(
      'terms rise',
    )
  })
})

describe('the judge of members', () => {
  const calm = [member('a', 1, 'joined', 'a'), member('b', 1, 'joined', 'a'), member('a', 2, 'joined', 'b')]

  it('finds nothing when all hear the same in order', () => {
    expect(violated([...calm, member('b', 2, 'joined', 'b'), member('a', 3, 'left', 'b')])).toEqual([])
  })

  it('finds a transition that is heard twice, missed, or different for one watcher', () => {
    expect(violated([...calm, member('a', 2, 'joined', 'b')])).toEqual(['members in order'])
    expect(violated([...calm, member('b', 3, 'suspect', 'a')])).toEqual(['members agree'])
    expect(violated([...calm, member('b', 2, 'joined', 'c')])).toEqual(['members agree'])
  })

  it('finds transitions that make no sense', () => {
    expect(violated([...calm, member('a', 3, 'dead', 'b'), member('a', 4, 'recovered', 'b')])).toEqual([
      'members in order',
    ])
    expect(violated([...calm, member('a', 3, 'recovered', 'b')])).toEqual(['members in order'])
  })

  it('finds a member that died because the store was down, and a killed one never declared dead', () => {
    const dead = member('a', 3, 'dead', 'b')
    expect(violated([...calm, dead], { outage: true })).toEqual(['an outage kills nobody'])
    const killed: Event = { at: 2, process: 'harness.0', type: 'note', op: 'killed', text: 'b' }
    expect(violated([...calm, killed])).toEqual(['the dead are told'])
    expect(violated([...calm, killed, dead])).toEqual([])
  })
})

describe('the judge of shared state', () => {
  const written = state(10, { does: 'write', value: 7 }, { version: 100 })

  it('finds a read of an overwritten value, and a compare-and-set that should not have passed', () => {
    expect(violated([...written, ...state(20, { does: 'read' }, { value: 7, version: 100 })])).toEqual([])
    expect(violated([...written, ...state(20, { does: 'read' }, { value: undefined })])).toEqual([
      'state is linearizable',
    ])
    const passed = state(20, { does: 'write', value: 8, expected: 50 }, { version: 101 })
    expect(violated([...written, ...passed])).toEqual(['state is linearizable'])
  })

  it('finds a change that is heard out of order, or different for one watcher', () => {
    expect(violated([heard('a', 1, 1), heard('a', 2, 2), heard('b', 2, 2)])).toEqual([])
    expect(violated([heard('a', 2, 2), { ...heard('a', 1, 1), at: 3 }])).toEqual(['state is heard'])
    expect(violated([heard('a', 2, 2), heard('b', 2, 3)])).toEqual(['state is heard'])
  })

  it('is not judged where the store loses confirmed data', () => {
    const lost = [...written, ...state(20, { does: 'read' }, { value: undefined })]
    expect(violated(lost, { losesData: true, breaksBelief: true })).toEqual([])
  })
})
