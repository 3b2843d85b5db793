import { hasCode, toError } from '../core/errors.ts'
import type { Lease } from '../locks/lock.ts'
import { within } from '../locks/within.ts'
import type {
  Election,
  ElectionEvent,
  ElectionHealth,
  ElectionState,
  ElectionStatus,
  LeaderInfo,
  RevokedReason,
  Term,
} from './election.ts'
import { type ElectionOptions, type ResolvedElection, resolveElection } from './options.ts'
import { LedTerm } from './term.ts'

/** A candidate for the leadership of a role. Does nothing until `start()`. */
export function createElection(options: ElectionOptions): Election {
  return new Campaign(resolveElection(options))
}

const STILL_RUNNING = Symbol('still running')

/**
 * One loop: win the lease, lead until the term ends, wind it down, again. The lease renews itself and ends the term by
 * itself, so nothing a handler does or fails to do can prolong a term.
 */
class Campaign implements Election {
  readonly #options: ResolvedElection
  readonly #closing = new AbortController()
  readonly #listeners = new Set<(event: ElectionEvent) => void>()
  #state: ElectionState = 'idle'
  #term: LedTerm | undefined
  #handedOver: Promise<void> = Promise.resolve()
  #terms = 0
  #error: string | undefined
  #stuckTerm: number | undefined
  #running: Promise<void> | undefined

  constructor(options: ResolvedElection) {
    this.#options = options
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#state = 'campaigning'
    this.#running = this.#run()
  }

  current(): Term | undefined {
    return this.#state === 'leading' && this.#term?.isValid === true ? this.#term : undefined
  }

  status(): ElectionStatus {
    const { role, instance } = this.#options
    const over = this.#state === 'leading' && this.#term?.isValid !== true
    const state = over ? 'stepping_down' : this.#state
    return { role, instance, state, term: this.#term?.term, terms: this.#terms, error: this.#error }
  }

  async leader(): Promise<LeaderInfo | undefined> {
    const holder = await this.#options.locks.inspect(this.#options.key)
    if (holder === undefined) return undefined
    return { instance: holder.owner, term: holder.token, expiresInMs: holder.expiresInMs }
  }

  subscribe(listener: (event: ElectionEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async resign(): Promise<void> {
    this.#term?.end('resigned')
    await this.#handedOver
  }

  health(): ElectionHealth {
    if (this.#state === 'idle' || this.#state === 'closed') return { status: this.#state }
    if (this.#stuckTerm !== undefined) {
      return {
        status: 'down',
        detail: `a handler of term ${this.#stuckTerm} has not returned; no candidate until then`,
      }
    }
    return this.#error === undefined ? { status: 'up' } : { status: 'down', detail: this.#error }
  }

  async close(): Promise<void> {
    if (this.#state === 'idle') this.#state = 'closed'
    this.#closing.abort()
    this.#term?.end('closed')
    await this.#handedOver
    // A handler that never returns keeps the loop, but not the lease: close does not wait for it.
    if (this.#stuckTerm === undefined) await this.#running
    this.#state = 'closed'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const lease = await this.#win()
      if (lease === undefined) continue
      const reason = await this.#lead(lease)
      if (reason === 'failed') await this.#pause()
    }
  }

  #giveUp(): void {
    this.#closing.abort()
    this.#state = 'closed'
  }

  /** A lease, or `undefined` when closing or the store failed. */
  async #win(): Promise<Lease | undefined> {
    const { locks, key, ttlMs, instance, logger, role } = this.#options
    this.#state = 'campaigning'
    try {
      const waitMs = Number.POSITIVE_INFINITY
      const lease = await locks.acquire(key, { ttlMs, waitMs, owner: instance, signal: this.#closing.signal })
      this.#error = undefined
      return lease
    } catch (error) {
      // Nothing to campaign for without locks; going on would only keep the process alive.
      if (hasCode(error, 'locks.closed')) this.#giveUp()
      if (this.#closing.signal.aborted) return undefined
      this.#error = toError(error).message
      logger.warn({ role, err: error }, 'election: can not campaign, trying again')
      await this.#pause()
      return undefined
    }
  }

  async #lead(lease: Lease): Promise<RevokedReason> {
    const { role, instance, onGranted, onRevoked } = this.#options
    if (this.#closing.signal.aborted) {
      await lease.release()
      return 'closed'
    }
    const term = new LedTerm(role, instance, lease)
    const over = Promise.withResolvers<void>()
    this.#handedOver = over.promise
    this.#term = term
    this.#terms += 1
    this.#state = 'leading'
    this.#emit({ type: 'granted', role, term: term.term })
    const granted = this.#call('onGranted', () => onGranted(term)).then((ok) => {
      if (!ok) term.end('failed')
    })
    const reason = await term.ended
    // Status first, lease last: whoever asks in between hears that nobody leads, never that two do.
    this.#state = 'stepping_down'
    this.#emit({ type: 'revoked', role, term: term.term, reason })
    const revoked = this.#call('onRevoked', () => onRevoked(term, reason))
    await this.#windDown(lease, term, Promise.all([granted, revoked]), over.resolve)
    return reason
  }

  /** Handlers first, then the lease; but the lease does not wait longer than `stopGraceMs`. */
  async #windDown(lease: Lease, term: LedTerm, handlers: Promise<unknown>, handedOver: () => void): Promise<void> {
    const { clock, stopGraceMs, logger, role } = this.#options
    const settled = await within(clock, stopGraceMs, handlers, STILL_RUNNING)
    await lease.release()
    if (settled === STILL_RUNNING) {
      this.#stuckTerm = term.term
      logger.error({ role, term: term.term }, 'election: a handler outlives its term, not campaigning until it returns')
    }
    handedOver()
    await handlers
    this.#stuckTerm = undefined
    this.#term = undefined
  }

  /** True when the handler resolved. */
  async #call(name: string, handler: () => void | Promise<void>): Promise<boolean> {
    const { role, logger } = this.#options
    try {
      await handler()
      return true
    } catch (error) {
      logger.error({ role, err: error }, `election: ${name} failed`)
      return false
    }
  }

  #emit(event: ElectionEvent): void {
    const { logger, role } = this.#options
    logger.info({ ...event }, `election: ${event.type}`)
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        logger.error({ role, err: error }, 'election: a listener failed')
      }
    }
  }

  async #pause(): Promise<void> {
    const { clock, retryMs } = this.#options
    await clock.sleep(retryMs * (0.75 + 0.5 * Math.random()), this.#closing.signal).catch(() => {})
  }
}
