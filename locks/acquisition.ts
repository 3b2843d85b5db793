import type { Clock } from '../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../core/elapsed-time.ts'
import { hasCode } from '../core/errors.ts'
import { fieldOf } from '../core/thrown-values.ts'
import { unlessAborted } from '../core/time-limit.ts'
import { LockError } from './errors.ts'
import type { ResolvedAcquire } from './options.ts'
import type { RecentMaxDelay } from './recent-max-delay.ts'
import type { AcquireReply, Claim, LockStore } from './store.ts'
import { remainingMs } from './validity.ts'

export interface Won {
  readonly claim: Claim
  readonly token: number
  readonly sentAt: Instant
  readonly stragglers: boolean
}

type Busy = Extract<AcquireReply, { status: 'busy' }>
export type Attempt = (Won & { readonly status: 'won' }) | Busy

/**
 * One acquisition under one value, in as many tries as necessary. Repeating a request is idempotent: if an earlier request
 * succeeded and only its answer was lost, the store grants the same lock again. An acquisition with an unknown outcome at the end
 * is undone in the background (`giveUp`).
 */
export class Acquisition {
  readonly #store: LockStore
  readonly #clock: Clock
  readonly #lateness: RecentMaxDelay
  readonly #options: ResolvedAcquire
  readonly #floor: () => number
  readonly #undo: (claim: Claim, uncertain: boolean) => void
  #claim: Claim
  /** The latest request that was refused with a place in the queue, which the store may turn into a grant. */
  #place: { readonly sentAt: Instant; readonly lastToken: number } | undefined
  /** A request with this value may still be under way, or may have succeeded without an answer. */
  #uncertain = false
  /** The store may contain something for this value: a place in the queue, or a lock. */
  #leftTrace = false

  constructor(fields: {
    store: LockStore
    clock: Clock
    lateness: RecentMaxDelay
    key: string
    options: ResolvedAcquire
    floor: () => number
    undo: (claim: Claim, uncertain: boolean) => void
  }) {
    this.#store = fields.store
    this.#clock = fields.clock
    this.#lateness = fields.lateness
    this.#options = fields.options
    this.#floor = fields.floor
    this.#undo = fields.undo
    const { terms } = fields.options
    this.#claim = { ...terms, key: fields.key, value: fields.store.newValue(terms) }
  }

  get value(): string {
    return this.#claim.value
  }

  /** @param keepPlaceMs 0: do not queue @param thenWaits true: will queue if the lock is busy */
  async attempt(keepPlaceMs: number, signal: AbortSignal | undefined, thenWaits = false): Promise<Attempt> {
    if (keepPlaceMs > 0) this.#leftTrace = true
    const sentAt = readInstant(this.#clock)
    const request = this.#store.acquire(this.#claim, {
      ttlMs: this.#options.timing.ttlMs,
      tokenFloor: Math.max(this.#floor(), this.#options.tokenAbove),
      keepPlaceMs,
      thenWaits,
      handOver: keepPlaceMs > 0,
    })
    let reply: AcquireReply
    try {
      reply = await (signal === undefined ? request : unlessAborted(signal, request))
    } catch (error) {
      // An abort says nothing about the request, whatever its reason; it may be the failure of another one.
      this.#uncertain ||= signal?.aborted === true || mayHaveHappened(error)
      throw error
    }
    const now = readInstant(this.#clock)
    this.#lateness.sawAnswer(elapsedMs(sentAt, now), now.monotonicMs)
    if (reply.status === 'busy') {
      if (reply.leftTrace === true) this.#leftTrace = true
      this.#place = reply.lastToken === undefined ? undefined : { sentAt, lastToken: reply.lastToken }
      return reply
    }
    if (remainingMs(this.#options.timing, sentAt, now) > 0) {
      return { status: 'won', claim: this.#claim, token: reply.token, sentAt, stragglers: this.#uncertain }
    }
    // Granted, but the answer took so long that nothing of the lease remains, so it cannot be returned.
    this.#leftTrace = true
    this.giveUp()
    this.#claim = { ...this.#claim, value: this.#store.newValue(this.#claim) }
    this.#place = undefined
    this.#uncertain = false
    throw new LockError('locks.store_unavailable', {
      store: this.#store.name,
      outcome: 'not_done',
      detail: `a grant took longer than the ttl to arrive`,
    })
  }

  /**
   * Handles a notification that the store granted the lock to this value, with this token. It did so after it refused the latest
   * request (otherwise the token would not be higher), so the time of a grant counted from that request ends before the store's
   * does. `undefined` if this is uncertain, or little of that time remains: request again, for the same grant with its full time.
   */
  handedOver(token: number): Won | undefined {
    if (this.#place === undefined || token <= this.#place.lastToken) return undefined
    const { sentAt } = this.#place
    const { timing } = this.#options
    if (remainingMs(timing, sentAt, readInstant(this.#clock)) < timing.ttlMs / 2) return undefined
    return { claim: this.#claim, token, sentAt, stragglers: this.#uncertain }
  }

  /** Leaves the queue and gives back a possible grant, in the background. */
  giveUp(): void {
    if (this.#leftTrace || this.#uncertain) this.#undo(this.#claim, this.#uncertain)
    this.#leftTrace = false
  }
}

/** False if the store reports that it did nothing. */
export function mayHaveHappened(error: unknown): boolean {
  if (hasCode(error, 'locks.store_unavailable')) return fieldOf(error, 'outcome') !== 'not_done'
  return !(hasCode(error, 'locks.store_refused') || hasCode(error, 'core.sql_own_transaction'))
}
