import { describe, expect, it } from 'vitest'
import type { Event } from '../harness/events.ts'
import type { Accepted } from '../harness/sink.ts'
import type { Remains } from '../store/arena.ts'
import type { LockFault } from './fault.ts'
import type { LockInvariant } from './invariants.ts'
import { judge } from './judge.ts'

const fault: LockFault = {
  name: 'test',
  what: '',
  keepsOrder: true,
  act: () => Promise.reject(new Error('not played')),
}

/** Violations in an episode that left these events and has no other defects. */
function violated(events: readonly Event[], more: Partial<Remains<LockFault>> = {}): LockInvariant[] {
  const sorted = events.toSorted((a, b) => a.at - b.at)
  const none = new Map([['postgres', []]] as const)
  const remains = { fault, ledgers: none, orphans: [], happened: 'yes', healedAt: 0, lagMs: 0, history: '' }
  const { verdicts } = judge({ ...remains, events: sorted, ...more })
  return verdicts.filter(({ holds }) => !holds).map(({ invariant }) => invariant as LockInvariant)
}

interface Turn {
  readonly who: string
  readonly asked: number
  readonly granted: number
  readonly token: number
  readonly until?: number
  /** Time of the release; without it the worker died. */
  readonly released?: number
  readonly outcome?: string
}

function turn({ who, asked, granted, token, until = granted + 900, released, outcome = 'released' }: Turn): Event[] {
  const shared = { process: `${who}.0`, grant: `${who}/${token}`, key: 'k', mode: 'exclusive' }
  const line = (fields: Pick<Event, 'at' | 'type' | 'op'> & Partial<Event>): Event => ({ ...shared, ...fields })
  const acquire = `acquire ${who} ${asked}`
  const release = `release ${who} ${asked}`
  const events = [
    line({ at: asked, type: 'invoke', op: 'acquire', id: acquire }),
    line({ at: granted, type: 'ok', op: 'acquire', id: acquire, token, until }),
  ]
  if (released === undefined) return events
  return [
    ...events,
    line({ at: released, type: 'invoke', op: 'release', id: release, token }),
    line({ at: released + 1, type: 'ok', op: 'release', id: release, token, outcome }),
  ]
}

const first = turn({ who: 'a', asked: 0, granted: 10, token: 1, released: 100 })
const second = turn({ who: 'b', asked: 5, granted: 102, token: 2, released: 200 })
const note = (fields: Partial<Event>): Event => ({
  at: 0,
  process: 'a.0',
  type: 'note',
  op: '',
  grant: 'a/1',
  ...fields,
})
const write = (holding: string, token: number): Accepted => ({ token, holding, write: `${holding}/${token}` })
const ledger = (...writes: readonly Accepted[]): Pick<Remains<LockFault>, 'ledgers'> => ({
  ledgers: new Map([['postgres', writes]]),
})

describe('the judge of locks', () => {
  it('finds nothing in a history of turns', () => {
    expect(violated([...first, ...second])).toEqual([])
  })

  it('finds nothing when a holder dies and is replaced after its ttl', () => {
    const died = turn({ who: 'a', asked: 0, granted: 10, token: 1, until: 950 })
    const next = turn({ who: 'b', asked: 5, granted: 1_020, token: 2, released: 1_100 })
    expect(violated([...died, ...next])).toEqual([])
  })

  it('finds a token that does not rise', () => {
    const again = turn({ who: 'b', asked: 110, granted: 120, token: 1, released: 200 })
    expect(violated([...first, ...again])).toEqual(['tokens rise', 'linearizable'])
  })

  it('finds two that believe', () => {
    const early = turn({ who: 'b', asked: 5, granted: 50, token: 2, released: 200 })
    expect(violated([...first, ...early])).toEqual(['one believes', 'linearizable'])
  })

  it('finds a grant before the server can have freed the last one, even without a believer', () => {
    const lost = note({ at: 20, op: 'lost', stalledMs: 0 })
    const died = turn({ who: 'a', asked: 0, granted: 10, token: 1, until: 950 })
    const next = turn({ who: 'b', asked: 5, granted: 500, token: 2, released: 600 })
    expect(violated([...died, lost, ...next])).toEqual(['linearizable'])
  })

  it('does not judge belief where it is not promised, and counts the overlaps', () => {
    const early = turn({ who: 'b', asked: 5, granted: 50, token: 2, released: 200 })
    const loss: LockFault = { ...fault, breaksBelief: true }
    expect(violated([...first, ...early], { fault: loss })).toEqual([])
    const again = turn({ who: 'b', asked: 110, granted: 120, token: 1, released: 200 })
    expect(violated([...first, ...again], { fault: loss })).toEqual(['tokens rise'])
  })

  it('finds a late write that was accepted, and a holding cut in two', () => {
    const late = ledger(write('a/1', 1), write('b/2', 2), write('a/1', 1))
    expect(violated([...first, ...second], late)).toEqual(['accepted in order'])
    const mixed = ledger(write('a/1', 2), write('b/2', 2), write('a/1', 2))
    expect(violated([...first, ...second], mixed)).toEqual(['accepted in order'])
  })

  it('finds an acknowledged write that is missing, and a refused one that is stored', () => {
    const asked = note({ at: 20, type: 'invoke', op: 'write', id: 'x', token: 1, sink: 'postgres', text: 'a/1/1' })
    const ok = { ...asked, at: 21, type: 'ok' } as const
    expect(violated([...first, asked, ok], ledger())).toEqual(['sink agrees'])
    expect(violated([...first, asked, ok], ledger(write('a/1', 1)))).toEqual([])
    expect(violated([...first, asked, { ...ok, type: 'fail' }], ledger(write('a/1', 1)))).toContain('sink agrees')
  })

  it('finds a refusal without a newer token', () => {
    const asked = note({ at: 20, type: 'invoke', op: 'write', id: 'x', token: 1, sink: 'postgres', text: 'a/1/1' })
    expect(violated([...first, asked, { ...asked, at: 21, type: 'fail' }], ledger())).toEqual(['sink agrees'])
  })

  it('finds a lease that is held again, or passes a check, after it was lost', () => {
    const lost = note({ at: 50, op: 'lost', stalledMs: 0 })
    const belief = note({ at: 60, op: 'belief', state: 'held', until: 910 })
    expect(violated([...first, lost, belief])).toEqual(['lost is lost'])
    const asked = note({ at: 60, type: 'invoke', op: 'write', id: 'x', token: 1, asked: true })
    expect(violated([...first, lost, asked])).toEqual(['lost is lost'])
  })

  it('finds a loss that is signalled late, unless the event loop was blocked', () => {
    const died = turn({ who: 'a', asked: 0, granted: 10, token: 1, until: 950 })
    expect(violated([...died, note({ at: 1_200, op: 'lost', stalledMs: 0 })])).toEqual(['lost in time'])
    expect(violated([...died, note({ at: 1_200, op: 'lost', stalledMs: 200 })])).toEqual([])
  })

  it('finds that no worker was granted after the fault, that one was not served, that the lock was not free', () => {
    expect(violated([...first], { healedAt: 150 })).toEqual(['grants go on'])
    expect(violated([...first, ...second, note({ op: 'not served', text: 'c' })])).toEqual(['nobody starves'])
    const last = {
      ...note({ type: 'invoke', op: 'acquire', id: 'z' }),
      process: 'harness.0',
      grant: 'harness/1',
      at: 300,
    }
    expect(violated([...first, last, { ...last, at: 2_400, type: 'fail' }])).toEqual(['released is free'])
  })

  it('finds an overtaken waiter', () => {
    const patient = turn({ who: 'b', asked: 5, granted: 500, token: 3, released: 510 })
    const pusher = turn({ who: 'c', asked: 300, granted: 310, token: 2, released: 490 })
    expect(violated([...first, ...pusher, ...patient])).toEqual(['nobody starves'])
  })

  it('finds a wake-up that was lost', () => {
    const held = turn({ who: 'a', asked: 0, granted: 10, token: 1, until: 5_000, released: 400 })
    const late = turn({ who: 'b', asked: 5, granted: 1_600, token: 2, released: 1_700 })
    expect(violated([...held, ...late])).toEqual(['no wake-up is lost'])
    expect(
      violated([...held, ...late], { fault: { ...fault, keepsOrder: undefined } as unknown as LockFault }),
    ).toEqual([])
  })

  it('finds leftover keys and unhandled rejections', () => {
    expect(violated([...first], { orphans: ['k:line'] })).toEqual(['no orphans'])
    expect(violated([...first, note({ op: 'stray error', error: 'x' })])).toEqual(['no stray errors'])
  })
})
