import { describe, expect, it } from 'vitest'
import { parseAddress } from '../support/inside/bus.ts'
import { type PresenceEnvelope, Roster } from './inside.ts'

let time = 0

function said(sender: string, more: Partial<PresenceEnvelope> = {}): PresenceEnvelope {
  const from = parseAddress(sender)
  const fixed = {
    kind: 'presence',
    id: 'i',
    signature: undefined,
    session: 's',
    state: 'here',
    intervalMs: 100,
  } as const
  return { ...fixed, sender, from, time: ++time, ...more }
}

const names = (roster: Roster): string[] => roster.live().map(({ instance }) => instance)

describe('a member', () => {
  it('is dead when it was silent over three of its intervals and three of our own announcements', () => {
    const roster = new Roster({ missed: 3 })
    roster.heard(said('a:b:c'), 0)
    for (const now of [100, 200, 300]) expect(roster.ownHeard(now)).toEqual([])
    expect(roster.ownHeard(400)).toEqual(['a:b:c'])
    expect(names(roster)).toEqual([])
  })

  it('does not die while our own messages do not arrive either: the channel is down', () => {
    const roster = new Roster({ missed: 3 })
    roster.heard(said('a:b:c'), 0)
    expect(roster.ownHeard(3_600_000)).toEqual([])
    expect(names(roster)).toEqual(['c'])
  })

  it('with a longer interval than ours has the time that it announced', () => {
    const roster = new Roster({ missed: 3 })
    roster.heard(said('a:b:c', { intervalMs: 10_000 }), 0)
    for (let now = 0; now < 30_000; now += 100) expect(roster.ownHeard(now)).toEqual([])
    expect(roster.ownHeard(30_000)).toEqual(['a:b:c'])
  })

  it('a member that is heard again lives', () => {
    const roster = new Roster({ missed: 2 })
    for (let now = 0; now < 10_000; now += 100) {
      expect(roster.heard(said('a:b:c'), now)).toBe(now === 0 ? 'joined' : 'known')
      expect(roster.ownHeard(now)).toEqual([])
    }
  })

  it('is neither revived nor removed by an earlier announcement', () => {
    const roster = new Roster({ missed: 3 })
    const [old, left] = [said('a:b:c'), said('a:b:c', { state: 'left' })]
    const here = said('a:b:c')
    roster.heard(here, 0)
    expect([roster.heard(left, 1), roster.heard(old, 1)]).toEqual(['stale', 'stale'])
    expect(names(roster)).toEqual(['c'])
  })

  it('with an implausible interval is dead after three times the longest allowed one', () => {
    const roster = new Roster({ missed: 3, maxIntervalMs: 1_000 })
    roster.heard(said('a:b:c', { intervalMs: 86_400_000 }), 0)
    for (let now = 0; now < 3_000; now += 100) expect(roster.ownHeard(now)).toEqual([])
    expect(roster.ownHeard(3_000)).toEqual(['a:b:c'])
  })

  it.each(['left', 'died'] as const)('a member that has %s is not brought back by its earlier messages', (how) => {
    const roster = new Roster({ missed: 3, rememberMs: 1_000 })
    const [here, left, later] = [said('a:b:c'), said('a:b:c', { state: 'left' }), said('a:b:c', { session: 't' })]
    roster.heard(here, 0)
    if (how === 'left') roster.heard(left, 400)
    else for (const now of [100, 200, 300, 400]) roster.ownHeard(now)
    expect(names(roster)).toEqual([])
    expect(roster.heard(here, 500)).toBe('stale')
    expect(roster.heard(later, 600)).toBe('joined')
  })

  it('is not added by announcements from before its goodbye, which alone was heard', () => {
    const roster = new Roster({ missed: 3, rememberMs: 1_000 })
    const [here, left] = [said('a:b:c'), said('a:b:c', { state: 'left' })]
    expect([roster.heard(left, 0), roster.heard(here, 1)]).toEqual(['stale', 'stale'])
    expect(names(roster)).toEqual([])
  })

  it('whose address another process has taken over is not removed by the first one’s goodbye', () => {
    const roster = new Roster({ missed: 3 })
    roster.heard(said('a:b:c', { session: 'old' }), 0)
    expect(roster.heard(said('a:b:c', { session: 'new' }), 1)).toBe('joined')
    expect(roster.heard(said('a:b:c', { session: 'old', state: 'left' }), 2)).toBe('stale')
    expect(roster.heard(said('a:b:c', { session: 'new', state: 'left' }), 3)).toBe('left')
  })
})

it('a roster stays bounded when an attacker invents members', () => {
  const roster = new Roster({ missed: 3, rememberMs: 1_000 })
  for (let n = 0; n < 10_100; n++) roster.heard(said(`a:b:c${n}`), 0)
  expect(roster.live()).toHaveLength(10_000)
})
