import { lastingContext } from '../core/async-contexts.ts'
import { backoffDelayMs, resolveBackoff } from '../core/backoff.ts'
import { type Clock, MINUTE } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Claim, LockStore } from './store.ts'

/**
 * How long after a client gave up a request may still arrive: a server that was frozen executes requests in the buffers of dead
 * connections, and TCP repeats the last bytes of a closed connection for about as long.
 */
export const STRAGGLER_MS = 1 * MINUTE
const BACKOFF = resolveBackoff('locks.undo', { initialMs: 50, maxMs: 1_000 })

/** Returns how long the store has to refuse requests for a value when one may still be under way. */
export function forgetAfterMs(ttlMs: number): number {
  return Math.max(ttlMs, STRAGGLER_MS)
}

/** Undoes acquisitions with an unknown outcome, in the background and without keeping the process alive. */
export class AcquisitionUndo {
  readonly #store: LockStore
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #open = new Set<Promise<void>>()
  #stopped = false

  constructor(store: LockStore, clock: Clock, logger: Logger) {
    this.#store = store
    this.#clock = clock
    this.#logger = logger
  }

  /**
   * Repeats until the store confirms, or until every possible lease has expired.
   * @param uncertain true: a request for the value may still be under way
   */
  begin(claim: Claim, ttlMs: number, uncertain: boolean): void {
    const undoing = lastingContext()(() => this.#abandon(claim, ttlMs, uncertain))
      .catch((error: unknown) => {
        this.#logger.warn({ key: claim.key, err: error }, 'an unfinished acquisition was not undone, it ends by itself')
      })
      .finally(() => this.#open.delete(undoing))
    this.#open.add(undoing)
  }

  async settled(): Promise<void> {
    await Promise.all(this.#open)
  }

  /** Stops trying, because the store closes. */
  stop(): void {
    this.#stopped = true
  }

  async #abandon(claim: Claim, ttlMs: number, uncertain: boolean): Promise<void> {
    const forgetMs = uncertain ? forgetAfterMs(ttlMs) : 0
    const until = this.#clock.monotonic() + Math.max(ttlMs, forgetMs)
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#store.abandon(claim, forgetMs)
        return
      } catch (error) {
        const pauseMs = backoffDelayMs(BACKOFF, attempt, Math.random())
        const pointless = hasCode(error, 'locks.store_refused') || this.#stopped
        if (pointless || this.#clock.monotonic() + pauseMs >= until) throw error
        await new Promise<void>((resolve) => {
          this.#clock.setTimer(pauseMs, resolve)
        })
      }
    }
  }
}
