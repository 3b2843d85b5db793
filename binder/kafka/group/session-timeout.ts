import type { Clock } from '../../../core/clock.ts'
import type { Instant } from '../../../core/elapsed-time.ts'
import { LastHeard } from '../../transport/kit/last-heard.ts'

export interface MembershipTimes {
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** Maximum duration of a join, from the request to the assignment. */
  readonly joinTimeoutMs: number
}

/**
 * Tells from times alone whether this member can still rely on its place in the group, because a library may retry for long, or
 * hang, without reporting it. The broker counts the session from the last request that it received; this counts from when that
 * request was sent, so it gives a partition up before the broker reassigns it.
 */
export class SessionTimeout {
  readonly #times: MembershipTimes
  #phase: 'joining' | 'member' | 'leaving' = 'joining'
  readonly #heard: LastHeard
  /** Beginning of this phase. */
  readonly #began: LastHeard
  #term = 0

  constructor(clock: Clock, times: MembershipTimes) {
    this.#times = times
    this.#heard = new LastHeard(clock)
    this.#began = new LastHeard(clock)
  }

  /** Changes with each join, to distinguish answers about this place from those about the previous one. */
  get term(): number {
    return this.#term
  }

  /** Time at which the coordinator last knew this member, or a join began. */
  get answeredAt(): number {
    return Math.max(this.#heard.at, this.#began.at)
  }

  /** Records that a join request is about to be sent. */
  joining(): void {
    this.#enter('joining')
  }

  /**
   * Records an assignment. It may have waited in the socket while the process was stopped, so no message begins before a
   * heartbeat is answered.
   * @param sentAt time of the request, the earliest start of the broker's count. @default now
   */
  joined(sentAt?: Instant): void {
    this.#enter('member')
    this.#heard.heard(sentAt)
  }

  /** Records that partitions are being given up; a member unknown to the broker should not take long for it. */
  leaving(): void {
    if (this.#phase === 'member') this.#phase = 'leaving'
  }

  /**
   * Records that the coordinator knows this member. An answer that waited in the socket while the process was stopped proves
   * nothing.
   * @param sentAt time at which the heartbeat was sent. @default now
   */
  confirmed(sentAt?: Instant): void {
    if (this.#phase === 'joining' || this.doubt() !== undefined) return
    if (sentAt === undefined || sentAt.monotonicMs > this.#heard.at) this.#heard.heard(sentAt)
  }

  /** The present instant, to pass to `joined` or `confirmed` later. */
  now(): Instant {
    return this.#heard.now()
  }

  /** Tells whether no other member can have its partitions yet; called before a message begins. */
  isCertain(): boolean {
    return this.#phase === 'joining' || this.#heard.isCertain(this.#times.sessionTimeoutMs)
  }

  /** Returns why the place must be considered lost; `undefined` if it is not. */
  doubt(): string | undefined {
    const silence = this.#silentMs
    if (silence <= this.#patience()) return undefined
    const what = this.#phase === 'joining' ? 'the group was not joined' : 'no heartbeat was answered'
    return `${what} for ${Math.round(silence)} ms`
  }

  /** While giving partitions up: true when the broker seems not to know this member, so waiting is pointless. */
  isForgotten(): boolean {
    return this.#phase === 'leaving' && this.#silentMs > 3 * this.#times.heartbeatIntervalMs
  }

  /** Silence of the broker in this phase, without the duration of a join. */
  get #silentMs(): number {
    return Math.min(this.#heard.silentMs, this.#began.silentMs)
  }

  #patience(): number {
    return this.#phase === 'joining' ? this.#times.joinTimeoutMs : this.#times.sessionTimeoutMs
  }

  #enter(phase: 'joining' | 'member'): void {
    this.#phase = phase
    this.#began.heard()
    this.#term++
  }
}
