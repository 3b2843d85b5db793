/**
 * The life of one lease, the same for every store.
 *
 *            renewal confirmed in time
 *              +-----+
 *              v     |
 *   granted -> HELD -+--- release() ---> RELEASING ---> RELEASED
 *               |                           |
 *               +--> LOST <-----------------+
 *
 * One way: a lost lease stays lost, even if a renewal is confirmed too late. The deadline is computed from the clocks whenever it
 * is needed; the timers (watchdog, renewal) only trigger work, and nothing relies on their punctuality.
 */

import { lastingContext } from '../core/async-contexts.ts'
import type { Clock } from '../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../core/elapsed-time.ts'
import { hasCode } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { within } from '../core/time-limit.ts'
import { mayHaveHappened } from './acquisition.ts'
import { LockError, type LockLostReason } from './errors.ts'
import type { Lease, LeaseState, ReleaseOutcome } from './lock.ts'
import type { RecentMaxDelay } from './recent-max-delay.ts'
import type { SharedTimers } from './shared-timers.ts'
import type { Claim, LockStore, NotHeld } from './store.ts'
import { forgetAfterMs } from './undo-acquisition.ts'
import { type LeaseTiming, remainingMs } from './validity.ts'

/** Result of a successful acquisition, with everything that its lease needs. */
export interface Grant {
  readonly store: LockStore
  readonly clock: Clock
  readonly logger: Logger
  /** Shared timers of renewals. */
  readonly rounds: SharedTimers
  readonly lateness: RecentMaxDelay
  readonly claim: Claim
  readonly token: number
  readonly timing: LeaseTiming
  /** Both clocks before the successful request was sent. */
  readonly sentAt: Instant
  readonly maxHoldMs: number
  /** An earlier request for this value has an unknown outcome and may still arrive. */
  readonly stragglers: boolean
  /** Called when the lease needs nothing more; perhaps twice. */
  readonly onEnd: () => void
}

/** How long `release()` makes its caller wait after a first failure; it continues in the background. */
const RELEASE_WAIT_MS = 1_000
const RELEASE_RETRY_MS = 50

const NOT_CONFIRMED = Symbol('not confirmed')

export class HeldLease implements Lease {
  readonly key: string
  readonly token: number
  readonly #grant: Grant
  readonly #grantedAt: Instant
  #anchor: Instant
  #state: LeaseState = 'held'
  #lost: LockError<'locks.lost'> | undefined
  #abort: AbortController | undefined
  #releasing: Promise<ReleaseOutcome> | undefined
  #lastFailure: unknown
  /** True if the previous renewal failed, too. */
  #isTrouble = false
  #renewing = false
  /** The lease came into doubt during a renewal, whose answer may be older than the doubt. */
  #isInDoubt = false
  #cancelWatchdog: () => void = noop
  #cancelRenewal: () => void = noop

  constructor(grant: Grant) {
    this.key = grant.claim.key
    this.token = grant.token
    this.#grant = grant
    this.#grantedAt = grant.sentAt
    this.#anchor = grant.sentAt
    // The first renewal starts the watchdog, long before the deadline; most leases end earlier.
    this.#scheduleRenewal()
  }

  get state(): LeaseState {
    if (this.#state === 'held') this.#remaining()
    return this.#state
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#lost !== undefined) this.#abort.abort(this.#lost)
    return this.#abort.signal
  }

  validUntil(): number {
    return this.#grant.clock.now() + this.remainingMs()
  }

  remainingMs(): number {
    return this.#state === 'held' ? this.#remaining() : 0
  }

  assertValid(minRemainingMs = 0): void {
    const left = this.remainingMs()
    if (this.#lost !== undefined) throw this.#lost
    if (this.#state !== 'held')
      throw new LockError('locks.lost', { key: this.key, token: this.token, reason: 'released' })
    if (left >= minRemainingMs) return
    const detail = `${Math.floor(left)} ms of validity are left, ${minRemainingMs} ms were asked for`
    throw new LockError(
      'locks.lost',
      { key: this.key, token: this.token, reason: 'expired', detail },
      this.#lastFailure,
    )
  }

  release(): Promise<ReleaseOutcome> {
    this.#releasing ??= this.#release()
    return this.#releasing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }

  /** Reason of the loss. */
  get lost(): LockError<'locks.lost'> | undefined {
    return this.#lost
  }

  get value(): string {
    return this.#grant.claim.value
  }

  /** Renews now: after a reconnect the store may have forgotten the lock, and waiting for a timer would be too late. */
  verify(): void {
    if (this.#state !== 'held') return
    this.#isInDoubt = this.#renewing
    this.#renewNow()
  }

  /**
   * Called by `locks.close()`: ends the lease for the holder at once, then gives it back; the lock delay still applies, as after
   * a loss.
   */
  async close(): Promise<void> {
    if (this.#state === 'held') {
      const left = this.#remaining()
      this.#lose('closed')
      if (this.#grant.claim.lockDelayMs > 0) return this.#grant.onEnd()
      const givenBack = lastingContext()(() => this.#giveBack(left))
      this.#releasing ??= givenBack.then((outcome) => (outcome === 'unconfirmed' ? outcome : 'lost'))
    }
    await this.#releasing
  }

  /** Remaining validity by the clocks. If none remains, the lease is lost. */
  #remaining(): number {
    const left = remainingMs(this.#grant.timing, this.#anchor, readInstant(this.#grant.clock))
    if (left <= 0) this.#loseByTime()
    return left
  }

  #loseByTime(): void {
    this.#lose(this.#heldTooLong() ? 'max_hold' : 'expired')
  }

  #heldTooLong(): boolean {
    const { clock, maxHoldMs } = this.#grant
    return clock.monotonic() - this.#grantedAt.monotonicMs >= maxHoldMs
  }

  #displaced(how: NotHeld): void {
    if (how === 'lost') return this.#lose('displaced')
    this.#lose('forced', `${how.forced.by} released it by force: ${how.forced.reason}`)
  }

  #lose(reason: LockLostReason, detail?: string): void {
    if (this.#state === 'lost' || this.#state === 'released') return
    this.#state = 'lost'
    this.#lost = new LockError('locks.lost', { key: this.key, token: this.token, reason, detail }, this.#lastFailure)
    this.#stopTimers()
    if (reason !== 'closed') {
      this.#grant.logger.warn({ key: this.key, token: this.token, reason, err: this.#lastFailure }, 'lock lost')
      this.#grant.onEnd()
    }
    this.#abort?.abort(this.#lost)
  }

  #stopTimers(): void {
    this.#cancelWatchdog()
    this.#cancelRenewal()
  }

  #armWatchdog(): void {
    this.#cancelWatchdog()
    const left = remainingMs(this.#grant.timing, this.#anchor, readInstant(this.#grant.clock))
    this.#cancelWatchdog = this.#grant.clock.setTimer(Math.max(0, left), () => {
      if (this.#state !== 'held') return
      // Timers count whole milliseconds: the remainder of the last one is not worth another.
      if (this.#remaining() < 1) this.#loseByTime()
      else this.#armWatchdog()
    })
  }

  #scheduleRenewal(): void {
    const { rounds, timing } = this.#grant
    this.#cancelRenewal = rounds.after(timing.renewEveryMs, () => this.#renewNow())
  }

  /** Randomised, so that a store that returns does not receive all renewals at once. */
  #retryRenewal(): void {
    const { clock, timing } = this.#grant
    const delayMs = timing.retryRenewalMs * (0.75 + 0.5 * Math.random())
    this.#cancelRenewal = clock.setTimer(delayMs, () => this.#renewNow())
  }

  #renewNow(): void {
    this.#cancelRenewal()
    this.#armWatchdog()
    void this.#renew()
  }

  async #renew(): Promise<void> {
    if (this.#state !== 'held' || this.#renewing || this.#heldTooLong()) return
    this.#renewing = true
    this.#isInDoubt = false
    const sentAt = readInstant(this.#grant.clock)
    const outcome = await this.#extend()
    this.#renewing = false
    // A confirmation after the deadline, or after a release began, has no effect.
    if (this.#state !== 'held' || this.#remaining() <= 0) return
    if (outcome === 'extended') {
      this.#anchor = sentAt
      const now = readInstant(this.#grant.clock)
      this.#grant.lateness.sawAnswer(elapsedMs(sentAt, now), now.monotonicMs)
      this.#lastFailure = undefined
      this.#isTrouble = false
      this.#armWatchdog()
      if (this.#isInDoubt) this.#renewNow()
      else this.#scheduleRenewal()
    } else if (outcome !== 'failed') {
      this.#displaced(outcome)
    } else {
      this.#retryRenewal()
    }
  }

  async #extend(): Promise<'extended' | NotHeld | 'failed'> {
    const { store, clock, claim, timing, logger } = this.#grant
    try {
      const outcome = await within(clock, timing.renewTimeoutMs, store.extend(claim, timing.ttlMs), NOT_CONFIRMED)
      if (outcome !== NOT_CONFIRMED) return outcome
      this.#lastFailure = new Error(`renewal not confirmed within ${Math.round(timing.renewTimeoutMs)} ms`)
    } catch (error) {
      this.#lastFailure = error
    }
    const level = this.#isTrouble ? 'debug' : 'warn'
    this.#isTrouble = true
    logger[level]({ key: this.key, token: this.token, err: this.#lastFailure }, 'lock renewal failed, trying again')
    return 'failed'
  }

  async #release(): Promise<ReleaseOutcome> {
    const left = this.#state === 'held' ? this.#remaining() : 0
    if (this.#state !== 'held') return 'lost'
    // This holder considers the lease ended before the store frees the lock: for a moment there is no holder, never two.
    this.#state = 'releasing'
    this.#stopTimers()
    const outcome = await this.#giveBack(left).catch((error: unknown) => this.#notGivenBack(error))
    if (outcome === 'released' || outcome === 'unconfirmed') {
      this.#state = 'released'
      return outcome
    }
    this.#displaced(outcome)
    return 'lost'
  }

  /** The store was not contacted, so the lock is still held. @throws error */
  #notGivenBack(error: unknown): never {
    this.#releasing = undefined
    if (this.#state === 'releasing') {
      this.#state = 'held'
      this.#scheduleRenewal()
    }
    throw error
  }

  /** A store answers within about a second (its contract). Without an answer the release continues in the background. */
  async #giveBack(validForMs: number): Promise<ReleaseOutcome | NotHeld> {
    const { store, clock, claim, onEnd } = this.#grant
    const until = clock.monotonic() + validForMs
    try {
      const outcome = await store.release(claim, this.#forgetAfterMs)
      onEnd()
      return outcome
    } catch (error) {
      if (hasCode(error, 'core.sql_own_transaction')) throw error
      const retrying = this.#releaseAgain(until, error).finally(() => onEnd())
      return within(clock, RELEASE_WAIT_MS, retrying, 'unconfirmed')
    }
  }

  /** Repeats until the validity ends, after which the lock frees itself. */
  async #releaseAgain(until: number, failure: unknown): Promise<ReleaseOutcome | NotHeld> {
    const { store, clock, logger, claim } = this.#grant
    let lastFailure = failure
    let mayBeDone = mayHaveHappened(failure)
    while (clock.monotonic() + RELEASE_RETRY_MS < until) {
      await clock.sleep(RELEASE_RETRY_MS)
      try {
        const outcome = await store.release(claim, this.#forgetAfterMs)
        // "Not ours" may only mean that an earlier attempt, whose answer was lost, has succeeded.
        return outcome === 'released' || !mayBeDone ? outcome : 'unconfirmed'
      } catch (error) {
        lastFailure = error
        mayBeDone ||= mayHaveHappened(error)
      }
    }
    logger.warn({ key: this.key, token: this.token, err: lastFailure }, 'lock release not confirmed, it frees itself')
    return 'unconfirmed'
  }

  get #forgetAfterMs(): number {
    return this.#grant.stragglers ? forgetAfterMs(this.#grant.timing.ttlMs) : 0
  }
}

function noop(): void {}
