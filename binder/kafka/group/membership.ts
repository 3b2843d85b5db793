import type { Clock } from '../../../core/clock.ts'

export interface MembershipTimes {
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** How long a join may take, from the request to the assignment. */
  readonly joinTimeoutMs: number
}

/**
 * Whether this member can still believe in its place in the group, by the times alone: a library may retry for long, or
 * hang, without saying so. The broker counts the session from the last heartbeat that it got; this counts from when the
 * answer arrived, later by a round trip, so the broker may be first to give a partition away by that much.
 */
export class Membership {
  readonly #clock: Clock
  readonly #times: MembershipTimes
  #phase: 'joining' | 'member' | 'leaving' = 'joining'
  #since: number
  #term = 0

  constructor(clock: Clock, times: MembershipTimes) {
    this.#clock = clock
    this.#times = times
    this.#since = clock.monotonic()
  }

  /** Another one with each join: tells an answer about this place from one about the place before. */
  get term(): number {
    return this.#term
  }

  /** When the coordinator last knew this member, or a join began. */
  get answeredAt(): number {
    return this.#since
  }

  /** A join request is about to leave. */
  joining(): void {
    this.#enter('joining')
  }

  joined(): void {
    this.#enter('member')
  }

  /** The partitions are being given up; a member that is unknown to the broker should not take long over it. */
  leaving(): void {
    if (this.#phase === 'member') this.#phase = 'leaving'
  }

  /** The coordinator knows this member. */
  confirmed(): void {
    if (this.#phase !== 'joining') this.#since = this.#clock.monotonic()
  }

  /** Why the place must be taken for lost, `undefined` while it stands. */
  doubt(): string | undefined {
    const silence = this.#clock.monotonic() - this.#since
    if (silence <= this.#patience()) return undefined
    const what = this.#phase === 'joining' ? 'the group was not joined' : 'no heartbeat was answered'
    return `${what} for ${Math.round(silence)} ms`
  }

  /** While giving partitions up: true when the broker seems not to know us, and there is nothing to wait for. */
  isForgotten(): boolean {
    return this.#phase === 'leaving' && this.#clock.monotonic() - this.#since > 3 * this.#times.heartbeatIntervalMs
  }

  #patience(): number {
    return this.#phase === 'joining' ? this.#times.joinTimeoutMs : this.#times.sessionTimeoutMs
  }

  #enter(phase: 'joining' | 'member'): void {
    this.#phase = phase
    this.#since = this.#clock.monotonic()
    this.#term++
  }
}
