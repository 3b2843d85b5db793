import type { Clock } from '../../../core/clock.ts'
import type { Instant } from '../../../core/elapsed-time.ts'
import { LastHeard } from '../../transport/kit/last-heard.ts'

export interface MembershipTimes {
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** How long a join may take, from the request to the assignment. */
  readonly joinTimeoutMs: number
}

/**
 * Whether this member can still believe in its place in the group, by the times alone: a library may retry for long, or
 * hang, without saying so. The broker counts the session from the last request that it got; this counts from when that
 * request left, so it gives a partition up before the broker gives it away.
 */
export class SessionTimeout {
  readonly #times: MembershipTimes
  #phase: 'joining' | 'member' | 'leaving' = 'joining'
  readonly #heard: LastHeard
  /** Begin of this phase. */
  readonly #began: LastHeard
  #term = 0

  constructor(clock: Clock, times: MembershipTimes) {
    this.#times = times
    this.#heard = new LastHeard(clock)
    this.#began = new LastHeard(clock)
  }

  /** Another one with each join: tells an answer about this place from one about the place before. */
  get term(): number {
    return this.#term
  }

  /** When the coordinator last knew this member, or a join began. */
  get answeredAt(): number {
    return Math.max(this.#heard.at, this.#began.at)
  }

  /** A join request is about to leave. */
  joining(): void {
    this.#enter('joining')
  }

  /**
   * The share has come. It may have lain in the socket while the process was stopped: then nothing begins on it before a
   * heartbeat is answered.
   * @param sentAt when it was asked for, which is when the broker's count began at the earliest. @default now
   */
  joined(sentAt?: Instant): void {
    this.#enter('member')
    this.#heard.heard(sentAt)
  }

  /** The partitions are being given up; a member that is unknown to the broker should not take long over it. */
  leaving(): void {
    if (this.#phase === 'member') this.#phase = 'leaving'
  }

  /**
   * The coordinator knows this member. An answer that lay in the socket while the process was stopped says nothing of now.
   * @param sentAt when the heartbeat left. @default now
   */
  confirmed(sentAt?: Instant): void {
    if (this.#phase === 'joining' || this.doubt() !== undefined) return
    if (sentAt === undefined || sentAt.monotonicMs > this.#heard.at) this.#heard.heard(sentAt)
  }

  /** The present instant, to pass to `joined` or `confirmed` later. */
  now(): Instant {
    return this.#heard.now()
  }

  /** Whether no other member can have its partitions yet: asked before a message begins. */
  isCertain(): boolean {
    return this.#phase === 'joining' || this.#heard.isCertain(this.#times.sessionTimeoutMs)
  }

  /** Why the place must be taken for lost, `undefined` while it stands. */
  doubt(): string | undefined {
    const silence = this.#silentMs
    if (silence <= this.#patience()) return undefined
    const what = this.#phase === 'joining' ? 'the group was not joined' : 'no heartbeat was answered'
    return `${what} for ${Math.round(silence)} ms`
  }

  /** While giving partitions up: true when the broker seems not to know us, and there is nothing to wait for. */
  isForgotten(): boolean {
    return this.#phase === 'leaving' && this.#silentMs > 3 * this.#times.heartbeatIntervalMs
  }

  /** Silence of the broker in this phase: the duration of a join does not count. */
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
