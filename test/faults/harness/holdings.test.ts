import { describe, expect, it } from 'vitest'
import type { Event } from './events.ts'
import { holdingsOf, overlapsOf } from './holdings.ts'

function holding(grant: string, from: number, until: number, more: readonly Partial<Event>[] = []): Event[] {
  const shared = { process: 'w', grant, token: from }
  const line = (fields: Partial<Event>): Event => ({ type: 'note', op: 'belief', at: 0, ...shared, ...fields })
  return [
    line({ at: from - 1, type: 'invoke', op: 'acquire' }),
    line({ at: from, type: 'ok', op: 'acquire', until }),
    ...more.map(line),
  ]
}

describe('belief', () => {
  it('ends at the last believed deadline, at a loss, or at a release, whichever is first', () => {
    const ends = (more: readonly Partial<Event>[]): number =>
      holdingsOf(holding('a', 10, 100, more))[0]?.beliefEnds ?? 0
    expect(ends([])).toBe(100)
    expect(ends([{ at: 50, state: 'held', until: 150 }])).toBe(150)
    expect(ends([{ at: 50, state: 'lost', until: 150 }])).toBe(100)
    expect(ends([{ at: 60, op: 'lost' }])).toBe(60)
    expect(ends([{ at: 70, type: 'invoke', op: 'release' }])).toBe(70)
  })

  it('of two holders overlaps for as long as both believe', () => {
    const released = [{ at: 40, type: 'invoke', op: 'release' }] as const
    const apart = holdingsOf([...holding('a', 10, 100, released), ...holding('b', 41, 90)])
    expect(overlapsOf(apart)).toEqual([])
    const together = holdingsOf([...holding('a', 10, 100), ...holding('b', 41, 90)])
    expect(overlapsOf(together)).toMatchObject([{ first: { grant: 'a' }, second: { grant: 'b' }, ms: 49 }])
  })

  it('does not begin when the deadline is over before the grant is reported', () => {
    expect(overlapsOf(holdingsOf([...holding('a', 10, 100), ...holding('b', 50, 45)]))).toEqual([])
  })
})
