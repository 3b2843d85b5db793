import { SECOND } from '../../core/clock.ts'
import { hasCode, toError } from '../../core/errors.ts'
import type { Lease } from '../../locks/lock.ts'
import { leaderOf } from './leader-lookup.ts'
import type { ResolvedElection } from './options.ts'

/** Interval at which a candidate with a delay checks for a leader. */
const STAND_BY_MS = 1 * SECOND

/** Obtains a lease: standing by, waiting in the queue, and retrying forever while the store is unavailable. */
export class Candidacy {
  readonly #options: ResolvedElection
  readonly #closing: AbortController
  #error: string | undefined
  #isWaiting = false

  /** @param closing ends it; aborted here when the locks are closed */
  constructor(options: ResolvedElection, closing: AbortController) {
    this.#options = options
    this.#closing = closing
  }

  /**
   * Reason why this candidate cannot campaign at the moment. A candidate that waits for the lease is in the queue as soon as the
   * store answers, however long the leader leads, which makes an earlier failure irrelevant.
   */
  get error(): string | undefined {
    if (!this.#isWaiting) return this.#error
    const { status, detail } = this.#options.locks.health()
    return status === 'down' ? (this.#error ?? detail ?? 'the lock store is down') : undefined
  }

  /** Returns a lease; `undefined` when closing, when the store failed, or when another instance leads: try again. */
  async win(): Promise<Lease | undefined> {
    return (await this.#standBy()) ? this.#acquire() : undefined
  }

  /** Stays out of the queue. @param error problem that health reports meanwhile */
  async stayOut(ms: number, error: string | undefined): Promise<void> {
    if (ms === 0) return
    if (error !== undefined) this.#error = error
    await this.#pause(ms)
    this.#error = undefined
  }

  /**
   * Keeps a candidate with `campaignDelayMs` out of the queue until there was no leader for that long, because queued candidates
   * come first. True when it may campaign.
   */
  async #standBy(): Promise<boolean> {
    const { campaignDelayMs, locks, role } = this.#options
    if (campaignDelayMs === 0) return true
    try {
      const leader = await leaderOf(locks, role)
      this.#error = undefined
      if (leader !== undefined) {
        await this.#pause(Math.min(STAND_BY_MS, leader.expiresInMs + 1))
        return false
      }
      await this.#pause(campaignDelayMs)
      return !this.#closing.signal.aborted && (await leaderOf(locks, role)) === undefined
    } catch (error) {
      await this.#storeFailed(error)
      return false
    }
  }

  async #acquire(): Promise<Lease | undefined> {
    const { locks, key, ttlMs, lockDelayMs, instance } = this.#options
    try {
      const waitMs = Number.POSITIVE_INFINITY
      const { signal } = this.#closing
      this.#isWaiting = true
      const lease = await locks.acquire(key, { ttlMs, lockDelayMs, waitMs, owner: instance, signal })
      this.#error = undefined
      return lease
    } catch (error) {
      this.#isWaiting = false
      await this.#storeFailed(error)
      return undefined
    } finally {
      this.#isWaiting = false
    }
  }

  async #storeFailed(error: unknown): Promise<void> {
    const { logger, role, retryMs } = this.#options
    // Without locks there is nothing to campaign for; continuing would only keep the process alive.
    if (hasCode(error, 'locks.closed')) this.#closing.abort()
    if (this.#closing.signal.aborted) return
    const level = this.#error === undefined ? 'warn' : 'debug'
    this.#error = toError(error).message
    logger[level]({ role, err: error }, 'election: cannot campaign, trying again')
    await this.#pause(retryMs * (0.75 + 0.5 * Math.random()))
  }

  async #pause(durationMs: number): Promise<void> {
    await this.#options.clock.sleep(durationMs, this.#closing.signal).catch(() => {})
  }
}
