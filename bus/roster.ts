/**
 * Who is there, by what they say of themselves. Pure: the clock comes in with each call.
 *
 * A member is dead when it has missed some announcements. Missed is counted by our own, which come back to us over the
 * same channel: while we hear nobody, ourselves included, the channel is away and nobody is declared dead.
 */
import type { Address } from './address.ts'
import type { PresenceEnvelope } from './envelope.ts'

interface Member {
  readonly address: Address
  session: string
  /** Of its last announcement, by its clock: one that comes late, or again, says nothing new. */
  time: number
  intervalMs: number
  heardAt: number
  /** Announcements of ours since. */
  ownSince: number
}

/** What was heard: somebody new, one that is known, one that leaves, or nothing new. */
export type Heard = 'joined' | 'known' | 'left' | 'stale'

/** Nobody has so many instances; somebody who can write to the broker can invent them. */
const MAX_MEMBERS = 10_000

export class Roster {
  readonly #missed: number
  readonly #members = new Map<string, Member>()

  /** @param missed announcements in a row that make a member dead */
  constructor(missed: number) {
    this.#missed = missed
  }

  heard({ from, sender, session, time, state, intervalMs }: PresenceEnvelope, now: number): Heard {
    const member = this.#members.get(sender)
    if (member !== undefined && time <= member.time) return 'stale'
    if (state === 'left') return this.#leave(sender, session)
    if (member === undefined) {
      if (this.#members.size >= MAX_MEMBERS) return 'stale'
      this.#members.set(sender, { address: from, session, time, intervalMs, heardAt: now, ownSince: 0 })
      return 'joined'
    }
    const isNew = member.session !== session
    Object.assign(member, { session, time, intervalMs, heardAt: now, ownSince: 0 })
    return isNew ? 'joined' : 'known'
  }

  /** Our own announcement has come back: the channel works. @returns who is dead now */
  ownHeard(now: number): readonly string[] {
    const dead: string[] = []
    for (const [name, member] of this.#members) {
      member.ownSince++
      const isSilent = member.ownSince > this.#missed && now - member.heardAt >= this.#missed * member.intervalMs
      if (isSilent && this.#members.delete(name)) dead.push(name)
    }
    return dead
  }

  live(): readonly Address[] {
    return Array.from(this.#members.values(), ({ address }) => address)
  }

  /** Another process that took over the address has not left. */
  #leave(name: string, session: string): Heard {
    if (this.#members.get(name)?.session !== session) return 'stale'
    this.#members.delete(name)
    return 'left'
  }
}
