/**
 * Instances according to their announcements. Pure: each call passes the time.
 *
 * A member is dead when it has missed several announcements, counted by this instance's own, which return on the same channel:
 * while none arrive, not even its own, the channel is down and no member is declared dead.
 */
import type { Address } from './address.ts'
import type { PresenceEnvelope } from './envelope.ts'

interface Member {
  readonly address: Address
  session: string
  /** Time of its last announcement, by its clock: a late or repeated one is ignored. */
  time: number
  intervalMs: number
  heardAt: number
  /** Number of own announcements since then. */
  ownSince: number
}

/** Meaning of an announcement: a new instance, a known one, one that leaves, or an outdated message. */
export type Heard = 'joined' | 'known' | 'left' | 'stale'

/** Above any real number of instances; a client with write access to the broker can invent them. */
const MAX_MEMBERS = 10_000

interface RosterOptions {
  /** Number of consecutive missed announcements after which a member is dead. */
  readonly missed: number
  /** Limit of claimed pauses: on an unsigned bus longer ones could keep a dead instance for days. @default any */
  readonly maxIntervalMs?: number | undefined
  /**
   * How long the last announcement of a departed member is kept, to recognise a replay. Only useful if times are signed. @default
   * 0
   */
  readonly rememberMs?: number | undefined
}

export class Roster {
  readonly #options: RosterOptions
  readonly #members = new Map<string, Member>()
  /** Instances that left or died: the time of the last announcement, by their clock, and of its receipt, by this clock. */
  readonly #gone = new Map<string, { readonly time: number; readonly at: number }>()

  constructor(options: RosterOptions) {
    this.#options = options
  }

  heard({ from, sender, session, time, state, intervalMs }: PresenceEnvelope, now: number): Heard {
    const member = this.#members.get(sender)
    this.#forgetGone(now)
    const last = (member ?? this.#gone.get(sender))?.time
    if (last !== undefined && time <= last) return 'stale'
    if (state === 'left') return this.#leave(sender, session, time, now)
    if (member === undefined) {
      if (this.#members.size >= MAX_MEMBERS) return 'stale'
      this.#members.set(sender, { address: from, session, time, intervalMs, heardAt: now, ownSince: 0 })
      return 'joined'
    }
    const isNew = member.session !== session
    Object.assign(member, { session, time, intervalMs, heardAt: now, ownSince: 0 })
    return isNew ? 'joined' : 'known'
  }

  /** Called when this instance's own announcement has returned, so the channel works. @returns the instances that are dead now */
  ownHeard(now: number): readonly string[] {
    const dead: string[] = []
    for (const [name, member] of this.#members) {
      member.ownSince++
      const { missed, maxIntervalMs = Number.POSITIVE_INFINITY } = this.#options
      const intervalMs = Math.min(member.intervalMs, maxIntervalMs)
      if (member.ownSince <= missed || now - member.heardAt < missed * intervalMs) continue
      this.#remove(name, member.time, now)
      dead.push(name)
    }
    return dead
  }

  live(): readonly Address[] {
    return Array.from(this.#members.values(), ({ address }) => address)
  }

  /** Another process that took over the address has not left. */
  #leave(name: string, session: string, time: number, now: number): Heard {
    const member = this.#members.get(name)
    if (member !== undefined && member.session !== session) return 'stale'
    this.#remove(name, time, now)
    return member === undefined ? 'stale' : 'left'
  }

  #remove(name: string, time: number, now: number): void {
    this.#members.delete(name)
    this.#gone.delete(name)
    if ((this.#options.rememberMs ?? 0) > 0) this.#gone.set(name, { time, at: now })
    if (this.#gone.size > MAX_MEMBERS) for (const eldest of this.#gone.keys()) return void this.#gone.delete(eldest)
  }

  /** Entries are in the order of leaving. */
  #forgetGone(now: number): void {
    for (const [name, { at }] of this.#gone) {
      if (now - at < (this.#options.rememberMs ?? 0)) return
      this.#gone.delete(name)
    }
  }
}
