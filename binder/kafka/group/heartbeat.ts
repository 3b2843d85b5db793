import type { Clock } from '../../../core/clock.ts'
import type { Instant } from '../../../core/elapsed-time.ts'
import { toError } from '../../../core/errors.ts'
import { LastHeard } from '../../transport/kit/last-heard.ts'
import { hasType, isExpelled, isRebalance, StoodStill } from '../errors.ts'
import { type MembershipTimes, SessionTimeout } from './session-timeout.ts'

const TICK_MS = 500

export interface HeartEvents {
  /** The place in the group is lost, or must be considered lost. */
  onLost(error: Error): void
  /** The broker no longer knows this member. */
  onExpelled(error: unknown): void
  /** The group rebalances: the member has to join again. */
  onRebalance(): void
  /** A heartbeat failed for another reason: the coordinator may be unavailable. */
  onSilence(error: unknown): void
}

/**
 * Maintains and monitors the membership in the group. It also sends heartbeats while a batch waits for capacity and while
 * partitions are handed over, and it detects that the broker no longer answers.
 */
export class Heartbeat {
  readonly membership: SessionTimeout
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #sessionTimeoutMs: number
  readonly #events: HeartEvents
  #call: (() => Promise<void>) | undefined
  /** Error of the last failed heartbeat. */
  #failure: { readonly error: Error; readonly at: number } | undefined
  readonly #ticked: LastHeard
  #beating = false
  #stopped = false

  constructor(clock: Clock, times: MembershipTimes, events: HeartEvents) {
    this.membership = new SessionTimeout(clock, times)
    this.#clock = clock
    this.#ticked = new LastHeard(clock)
    this.#tickMs = Math.min(TICK_MS, Math.ceil(times.heartbeatIntervalMs / 2))
    this.#sessionTimeoutMs = times.sessionTimeoutMs
    this.#events = events
  }

  /** Sets the heartbeat function. Called more often than the interval; the function itself limits the rate. */
  use(call: () => Promise<void>): void {
    this.#call = call
  }

  start(): void {
    if (this.#stopped) return
    this.#ticked.heard()
    this.#tick(0)
  }

  stop(): void {
    this.#stopped = true
  }

  /** Records that the group was joined. @param sentAt time of the request. @default now */
  joined(sentAt: Instant | undefined): void {
    this.membership.joined(sentAt)
    void this.#beat()
  }

  /** Returns an error about the membership, with the reason if a heartbeat has failed since the last answer. */
  because(what: string): Error {
    const failure = this.#failure
    if (failure === undefined || failure.at < this.membership.answeredAt) return new Error(what)
    return new Error(`${what}: ${failure.error.message}`, { cause: failure.error })
  }

  /** @param stillMs delay of the call beyond its schedule */
  #tick(stillMs: number): void {
    const doubt = this.membership.doubt()
    if (doubt !== undefined) {
      const isOurs = stillMs > this.#sessionTimeoutMs / 2
      this.#events.onLost(isOurs ? new StoodStill(stillMs) : this.because(doubt))
      return
    }
    if (this.membership.isForgotten()) this.#events.onExpelled(new Error('the group does not know this member'))
    void this.#beat()
    this.#clock.setTimer(this.#tickMs, () => {
      if (this.#stopped) return
      const stillMs = this.#ticked.silentMs - this.#tickMs
      this.#ticked.heard()
      this.#tick(stillMs)
    })
  }

  /**
   * A heartbeat sent during a join may be answered with "unknown" for the previous generation after the join. Treating this as an
   * answer about the new membership would end it permanently: a library whose own heartbeats succeed would never join again.
   */
  async #beat(): Promise<void> {
    if (this.#beating || this.#call === undefined) return
    this.#beating = true
    const { term } = this.membership
    try {
      await this.#call()
    } catch (error) {
      if (!this.#stopped && term === this.membership.term) this.#onError(error)
    } finally {
      this.#beating = false
    }
  }

  #onError(error: unknown): void {
    if (hasType(error, 'REBALANCE_IN_PROGRESS')) this.membership.confirmed()
    if (isExpelled(error)) this.#events.onExpelled(error)
    else if (isRebalance(error)) this.#events.onRebalance()
    else {
      this.#failure = { error: toError(error), at: this.#clock.monotonic() }
      this.#events.onSilence(error)
    }
  }
}
