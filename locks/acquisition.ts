import type { Clock } from '../core/clock.ts'
import { LockStoreRefused, LockStoreUnavailable } from './errors.ts'
import type { ResolvedAcquire } from './options.ts'
import type { AcquireReply, LockStore } from './store.ts'
import { type Instant, readInstant, remainingMs } from './validity.ts'
import { unlessAborted } from './within.ts'

export interface Won {
  readonly value: string
  readonly token: number
  readonly sentAt: Instant
  readonly stragglers: boolean
}

type Busy = Extract<AcquireReply, { status: 'busy' }>
export type Attempt = (Won & { readonly status: 'won' }) | Busy

/**
 * One acquisition under one value, in as many tries as it takes. Asking again is idempotent: if an earlier request won
 * and only its answer was lost, the store grants the same lock again. What has an unknown outcome in the end is undone
 * in the background (`giveUp`).
 */
export class Acquisition {
  readonly #store: LockStore
  readonly #clock: Clock
  readonly #key: string
  readonly #options: ResolvedAcquire
  readonly #floor: () => number
  readonly #undo: (value: string, uncertain: boolean) => void
  #value: string
  /** A request of this value may still be under way, or may have won without our knowing. */
  #uncertain = false
  /** The store may hold something for this value: a place in the line, or a lock. */
  #leftTrace = false

  constructor(fields: {
    store: LockStore
    clock: Clock
    key: string
    options: ResolvedAcquire
    floor: () => number
    undo: (value: string, uncertain: boolean) => void
  }) {
    this.#store = fields.store
    this.#clock = fields.clock
    this.#key = fields.key
    this.#options = fields.options
    this.#floor = fields.floor
    this.#undo = fields.undo
    this.#value = fields.store.newValue(fields.options.owner)
  }

  get value(): string {
    return this.#value
  }

  /** @param keepPlaceMs 0: do not wait in line */
  async attempt(keepPlaceMs: number, signal: AbortSignal | undefined): Promise<Attempt> {
    if (keepPlaceMs > 0) this.#leftTrace = true
    const sentAt = readInstant(this.#clock)
    const request = this.#store.acquire({
      key: this.#key,
      value: this.#value,
      ttlMs: this.#options.timing.ttlMs,
      tokenFloor: Math.max(this.#floor(), this.#options.tokenAbove),
      keepPlaceMs,
    })
    const reply = await this.#answer(request, signal)
    if (reply.status === 'busy') return reply
    if (remainingMs(this.#options.timing, sentAt, readInstant(this.#clock)) > 0) {
      return { status: 'won', value: this.#value, token: reply.token, sentAt, stragglers: this.#uncertain }
    }
    // Granted, but the answer took so long that nothing of the lease is left: not a grant we may hand out.
    this.#leftTrace = true
    this.giveUp()
    this.#value = this.#store.newValue(this.#options.owner)
    this.#uncertain = false
    throw new LockStoreUnavailable(this.#store.name, 'not_done', `a grant took longer than the ttl to arrive`)
  }

  /** Leaves the line and gives back what may have been granted, in the background. */
  giveUp(): void {
    if (this.#leftTrace || this.#uncertain) this.#undo(this.#value, this.#uncertain)
    this.#leftTrace = false
  }

  async #answer(request: Promise<AcquireReply>, signal: AbortSignal | undefined): Promise<AcquireReply> {
    try {
      return await (signal === undefined ? request : unlessAborted(signal, request))
    } catch (error) {
      const notDone =
        error instanceof LockStoreRefused || (error instanceof LockStoreUnavailable && error.outcome === 'not_done')
      if (!notDone) this.#uncertain = true
      throw error
    }
  }
}
