import { lastingContext } from '../../core/ambient.ts'
import { backoffDelayMs } from '../../core/backoff.ts'
import { tell } from '../../core/callbacks.ts'
import { HOUR, SECOND } from '../../core/clock.ts'
import { hasCode, requireInteger, toError } from '../../core/errors.ts'
import { requireFunction } from '../../core/options.ts'
import { within } from '../../core/time-limit.ts'
import type { Lease } from '../../locks/lock.ts'
import { ElectionTelemetry } from '../telemetry.ts'
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
import { Handlers } from './handlers.ts'
import { leaderOf } from './leader.ts'
import { type ElectionOptions, type ResolvedElection, resolveElection } from './options.ts'
import { LedTerm } from './term.ts'

/** A candidate for the leadership of a role. Does nothing until `start()`. */
export function createElection(options: ElectionOptions): Election {
  return new Campaign(resolveElection(options))
}

type Work = (term: Term) => void | Promise<void>

const STILL_RUNNING = Symbol('still running')
/** How often a candidate that lets others go first looks whether somebody leads. */
const STAND_BY_MS = 1 * SECOND

/**
 * One loop: win the lease, lead until the term ends, wind it down, again. The lease renews itself and ends the term by
 * itself, so nothing a handler does or fails to do can prolong a term.
 */
class Campaign implements Election {
  readonly #options: ResolvedElection
  readonly #handlers: Handlers
  readonly #telemetry: ElectionTelemetry | undefined
  readonly #closing = new AbortController()
  /** Nothing is left that the process has to live for. */
  readonly #over = new AbortController()
  readonly #listeners = new Set<(event: ElectionEvent) => void>()
  readonly #works = new Set<Work>()
  /** Around whoever started it: not under the locks and terms that somebody else holds. */
  #context: <T>(work: () => T) => T = (work) => work()
  #state: ElectionState = 'idle'
  #term: LedTerm | undefined
  #handedOver: Promise<void> = Promise.resolve()
  #terms = 0
  #failedInARow = 0
  #failure: Error | undefined
  #stayOutMs = 0
  #error: string | undefined
  #stuckTerm: number | undefined
  #running: Promise<void> | undefined

  constructor(options: ResolvedElection) {
    this.#options = options
    this.#handlers = new Handlers(options.role, options.logger)
    const { telemetry, role } = options
    this.#telemetry =
      telemetry === undefined ? undefined : new ElectionTelemetry(telemetry, role, () => this.current()?.term)
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#state = 'campaigning'
    this.#context = lastingContext()
    this.#running = this.#context(() => this.#run())
    void this.#stayAlive()
  }

  current(): Term | undefined {
    return this.#state === 'leading' && this.#term?.isValid === true ? this.#term : undefined
  }

  status(): ElectionStatus {
    const { role, instance } = this.#options
    const state = this.#isOverdue() ? 'stepping_down' : this.#state
    return { role, instance, state, term: this.#term?.term, terms: this.#terms, error: this.#error }
  }

  leader(): Promise<LeaderInfo | undefined> {
    return leaderOf(this.#options.locks, this.#options.role)
  }

  subscribe(listener: (event: ElectionEvent) => void): () => void {
    requireFunction(`election("${this.#options.role}").subscribe`, listener)
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  whileLeading(work: Work): () => void {
    requireFunction(`election("${this.#options.role}").whileLeading`, work)
    // A function of its own: the same work may be given twice.
    const own: Work = (term) => work(term)
    this.#works.add(own)
    if (this.#state === 'leading' && this.#term !== undefined) this.#begin('whileLeading', this.#term, own)
    return () => this.#works.delete(own)
  }

  async resign(options: { readonly stayOutMs?: number | undefined } = {}): Promise<void> {
    const stayOutMs = requireInteger(`election("${this.#options.role}").resign.stayOutMs`, options.stayOutMs ?? 0, 0)
    if (this.#term === undefined) return
    this.#stayOutMs = stayOutMs
    this.#term.end('resigned')
    if (!this.#handlers.contain(this.#term)) await this.#handedOver
  }

  health(): ElectionHealth {
    if (this.#state === 'idle' || this.#state === 'closed') return { status: this.#state }
    if (this.#stuckTerm !== undefined) {
      return {
        status: 'down',
        detail: `a handler of term ${this.#stuckTerm} has not returned; no candidate until then`,
      }
    }
    if (this.#isOverdue()) {
      return {
        status: 'down',
        detail: `term ${this.#term?.term} is over by the clocks, and the event loop is late to end it`,
      }
    }
    return this.#error === undefined ? { status: 'up' } : { status: 'down', detail: this.#error }
  }

  async close(): Promise<void> {
    if (this.#state === 'idle') this.#state = 'closed'
    this.#closing.abort()
    this.#telemetry?.close()
    this.#term?.end('closed')
    // Not from inside a handler: the hand-over waits for that handler, and goes on when it returns.
    if (this.#handlers.contain(this.#term)) return
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
      this.#state = 'campaigning'
      if (!(await this.#standBy())) continue
      const lease = await this.#win()
      if (lease === undefined) continue
      await this.#coolDown(await this.#lead(lease))
    }
    this.#state = 'closed'
    this.#over.abort()
  }

  /** A lease that is held keeps no process alive; a leadership does, or its leader would end as soon as it leads. */
  async #stayAlive(): Promise<void> {
    const { signal } = this.#over
    while (!signal.aborted) await this.#options.clock.sleep(1 * HOUR, signal).catch(() => {})
  }

  #giveUp(): void {
    this.#closing.abort()
    this.#state = 'closed'
  }

  /**
   * A candidate with `campaignDelayMs` stays out of the line until nobody has led for that long: those who are in it come
   * first. True when it may campaign.
   */
  async #standBy(): Promise<boolean> {
    const { campaignDelayMs } = this.#options
    if (campaignDelayMs === 0) return true
    try {
      const leader = await this.leader()
      this.#error = undefined
      if (leader !== undefined) {
        await this.#pause(Math.min(STAND_BY_MS, leader.expiresInMs + 1))
        return false
      }
      await this.#pause(campaignDelayMs)
      return !this.#closing.signal.aborted && (await this.leader()) === undefined
    } catch (error) {
      await this.#storeFailed(error)
      return false
    }
  }

  /** A lease, or `undefined` when closing or the store failed. */
  async #win(): Promise<Lease | undefined> {
    const { locks, key, ttlMs, lockDelayMs, instance } = this.#options
    try {
      const waitMs = Number.POSITIVE_INFINITY
      const signal = this.#closing.signal
      const lease = await locks.acquire(key, { ttlMs, lockDelayMs, waitMs, owner: instance, signal })
      this.#error = undefined
      return lease
    } catch (error) {
      await this.#storeFailed(error)
      return undefined
    }
  }

  async #storeFailed(error: unknown): Promise<void> {
    const { logger, role, retryMs } = this.#options
    // Nothing to campaign for without locks; going on would only keep the process alive.
    if (hasCode(error, 'locks.closed')) this.#giveUp()
    if (this.#closing.signal.aborted) return
    const level = this.#error === undefined ? 'warn' : 'debug'
    this.#error = toError(error).message
    logger[level]({ role, err: error }, 'election: cannot campaign, trying again')
    await this.#pause(retryMs * (0.75 + 0.5 * Math.random()))
  }

  async #lead(lease: Lease): Promise<RevokedReason> {
    const { role, instance, onGranted, onRevoked } = this.#options
    const term = new LedTerm(role, instance, lease)
    if (this.#closing.signal.aborted || !term.isValid) {
      // Won, and over before anybody was told: no term was granted.
      await lease.release()
      return 'lost'
    }
    const over = Promise.withResolvers<void>()
    this.#handedOver = over.promise
    this.#term = term
    this.#terms += 1
    // Work given by a listener or handler of this very term begins there, and not once more here.
    const works = [...this.#works]
    this.#state = 'leading'
    this.#emit({ type: 'granted', role, term: term.term })
    this.#begin('onGranted', term, onGranted)
    for (const work of works) if (this.#works.has(work)) this.#begin('whileLeading', term, work)
    const reason = await term.ended
    // Status first, lease last: whoever asks in between hears that nobody leads, never that two do.
    this.#state = 'stepping_down'
    this.#telemetry?.ended(reason)
    this.#emit({ type: 'revoked', role, term: term.term, reason })
    void this.#handlers.call('onRevoked', term, () => onRevoked(term, reason))
    await this.#windDown(lease, term, over.resolve)
    return reason
  }

  /** Not for a term that is over already, by the clocks: a handler before this one may have blocked for too long. */
  #begin(name: string, term: LedTerm, work: Work): void {
    if (!term.isValid) return
    void this.#context(() => this.#handlers.call(name, term, () => work(term))).then((error) => {
      if (error === undefined) return
      this.#failure = error
      term.end('failed', error)
    })
  }

  /** Handlers first, then the lease; but the lease does not wait longer than `stopGraceMs`. */
  async #windDown(lease: Lease, term: LedTerm, handedOver: () => void): Promise<void> {
    const { clock, stopGraceMs, logger, role } = this.#options
    const handlers = this.#handlers.settled()
    const settled = await within(clock, stopGraceMs, handlers, STILL_RUNNING)
    await lease.release()
    if (settled === STILL_RUNNING) {
      this.#stuckTerm = term.term
      logger.error({ role, term: term.term }, 'election: a handler outlives its term, not campaigning until it returns')
    }
    handedOver()
    // A handler that is stuck keeps neither the lease nor the process.
    if (this.#closing.signal.aborted) this.#over.abort()
    await handlers
    this.#stuckTerm = undefined
    this.#term = undefined
  }

  /** Lets others go first: after a failed term, longer each time, and as long as `resign` said. */
  async #coolDown(reason: RevokedReason): Promise<void> {
    const { coolDown } = this.#options
    this.#failedInARow = reason === 'failed' ? this.#failedInARow + 1 : 0
    const afterFailureMs = reason === 'failed' ? backoffDelayMs(coolDown, this.#failedInARow, Math.random()) : 0
    const pauseMs = Math.max(afterFailureMs, this.#stayOutMs)
    this.#stayOutMs = 0
    if (pauseMs === 0) return
    this.#state = 'campaigning'
    if (reason === 'failed') {
      const failed = this.#failedInARow === 1 ? 'the last term' : `the last ${this.#failedInARow} terms`
      this.#error = `${failed} failed (${this.#failure?.message}): out of the line for ${pauseMs} ms`
    }
    await this.#pause(pauseMs)
    this.#error = undefined
  }

  #emit(event: ElectionEvent): void {
    const { logger, role } = this.#options
    logger.info({ ...event }, `election: ${event.type}`)
    for (const listener of this.#listeners) {
      tell(listener, event, (error) => logger.error({ role, err: error }, 'election: a listener failed'))
    }
  }

  /** The term is over by the clocks, and nothing has run yet that says so. */
  #isOverdue(): boolean {
    return this.#state === 'leading' && this.#term?.isValid !== true
  }

  async #pause(durationMs: number): Promise<void> {
    await this.#options.clock.sleep(durationMs, this.#closing.signal).catch(() => {})
  }
}
