import { describe, expect, it } from 'vitest'
import { Verdicts } from '../harness/verdicts.ts'
import { judgeFence, judgeMessages, judgeProcesses, type Known } from './judge.ts'

const SOUND: Known = {
  sent: [
    { key: 'a', n: 0 },
    { key: 'a', n: 1 },
    { key: 'b', n: 0 },
  ],
  handled: [
    { key: 'a', n: 0 },
    { key: 'b', n: 0 },
    { key: 'a', n: 1 },
  ],
  fenced: [
    { resource: 'lock', token: '9', worker: 'x', write: 'x/1' },
    { resource: 'role', token: '3', worker: 'y', write: 'y/1' },
    { resource: 'lock', token: '9', worker: 'x', write: 'x/2' },
    { resource: 'lock', token: '10', worker: 'y', write: 'y/2' },
  ],
  accepted: { parcels: [{ key: 'a', n: 1 }], writes: ['x/2'] },
  moved: [],
  absent: [],
  failures: [],
}

/** Violated invariants, each with its evidence. */
function violated(changes: Partial<Known>): Readonly<Record<string, readonly string[]>> {
  const verdicts = new Verdicts()
  const known = { ...SOUND, ...changes }
  judgeMessages(known, verdicts)
  judgeFence(known, verdicts)
  judgeProcesses(known, verdicts)
  const broken = verdicts.all().filter(({ holds }) => !holds)
  return Object.fromEntries(broken.map(({ invariant, evidence }) => [invariant, evidence]))
}

describe('a run on clusters', () => {
  it('is sound when all was handled once and in order, and no token fell', () => {
    expect(violated({})).toEqual({})
  })

  it('has lost a committed, unhandled message, and one whose commit was confirmed', () => {
    expect(violated({ handled: SOUND.handled.slice(0, 2) })).toEqual({
      'nothing is lost': ['a/1 was committed and never handled'],
    })
    const gone = violated({
      sent: SOUND.sent.filter(({ n }) => n === 0),
      accepted: { parcels: [{ key: 'a', n: 1 }], writes: [] },
    })
    expect(gone['what was accepted is there']).toEqual([
      'the commit of a/1 was confirmed, and it is not in the database',
    ])
    expect(gone['nothing from nowhere']).toEqual(['a/1 was handled, and no committed transaction holds it'])
  })

  it('has done something twice, or out of order', () => {
    expect(violated({ handled: [...SOUND.handled, { key: 'a', n: 0 }] })).toEqual({
      'no effect twice': ['a/0 was handled again'],
    })
    const turned = [SOUND.handled[2], SOUND.handled[1], SOUND.handled[0]] as Known['handled']
    expect(violated({ handled: turned })['in order']).toEqual([
      'a/1 was handled when a/0 was next',
      'a/0 was handled when a/2 was next',
    ])
    expect(violated({ handled: turned, moved: ['a'] })).toEqual({})
  })

  it('has let a stale write through, or lost one', () => {
    const stale = { resource: 'lock', token: '9', worker: 'x', write: 'x/3' }
    expect(violated({ fenced: [...SOUND.fenced, stale] })).toEqual({
      'no stale write': ['lock: x/3 with token 9 came after y/2 with token 10'],
    })
    expect(violated({ accepted: { parcels: [], writes: ['y/9'] } })).toEqual({
      'what was accepted is there': ['y/9 was confirmed, and it is not there'],
    })
  })

  it('has a process that ended, or a line that did not come back', () => {
    expect(violated({ absent: ['messages: no move'], failures: ['sender-1 ended by itself'] })).toEqual({
      'all come back': ['messages: no move'],
      'no process fails': ['sender-1 ended by itself'],
    })
  })
})
