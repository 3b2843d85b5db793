import { lastingContext } from '../../core/async-contexts.ts'
import { HOUR } from '../../core/clock.ts'
import { requireMayStart } from '../../core/declarations-only.ts'
import { requireInteger } from '../../core/errors.ts'
import { requireFunction } from '../../core/option-checks.ts'
import { within } from '../../core/time-limit.ts'
import { tell } from '../../core/unawaited-callbacks.ts'
import type { Lease } from '../../locks/lock.ts'
import { ElectionTelemetry } from '../telemetry.ts'
import { Candidacy } from './candidacy.ts'
import { CoolDown } from './cool-down.ts'
import type {
  Election,
  ElectionEvent,
  ElectionHealth,
  ElectionStatus,
  LeaderInfo,
  RevokedReason,
  Term,
} from './election.ts'
import { ElectionError } from './errors.ts'
import { Handlers } from './handlers.ts'
import { leaderOf } from './leader-lookup.ts'
import { type ElectionOptions, type ResolvedElection, resolveElection } from './options.ts'
import { CAMPAIGNING, CLOSED, closed, healthOf, IDLE, type Phase, seenAs, stuckTerm, woundDown } from './phase.ts'
import { LedTerm } from './term.ts'

/** Creates a candidate for the leadership of a role. Does nothing until `start()`. */
export function createElection(options: ElectionOptions): Election {
  return new Campaign(resolveElection(options))
}

type Work = (term: Term) => void | Promise<void>

const STILL_RUNNING = Symbol('still running')
/**
 * One loop: acquire the lease, lead until the term ends, wind it down, repeat. The lease is renewed and ends the term on its own,
 * so no handler can prolong a term.
 */
class Campaign implements Election {
  readonly #options: ResolvedElection
  readonly #handlers: Handlers
  readonly #candidacy: Candidacy
  readonly #coolDown: CoolDown
  readonly #telemetry: ElectionTelemetry | undefined
  readonly #closing = new AbortController()
  /** Aborts when the process no longer has to stay alive for it. */
  readonly #over = new AbortController()
  readonly #listeners = new Set<(event: ElectionEvent) => void>()
  readonly #works = new Set<Work>()
  /** Context of the `start` call, outside of locks and terms that callers hold. */
  #context: <T>(work: () => T) => T = (work) => work()
  #phase: Phase = IDLE
  #handedOver: Promise<void> = Promise.resolve()
  #terms = 0
  #running: Promise<void> | undefined

  constructor(options: ResolvedElection) {
    this.#options = options
    this.#handlers = new Handlers(options.role, options.logger)
    this.#candidacy = new Candidacy(options, this.#closing)
    this.#coolDown = new CoolDown(options.coolDown)
    const { telemetry, role } = options
    this.#telemetry =
      telemetry === undefined ? undefined : new ElectionTelemetry(telemetry, role, () => this.current()?.term)
  }

  start(): void {
    requireMayStart(`election "${this.#options.role}".start`)
    if (this.#closing.signal.aborted)
      throw new ElectionError('election.closed', { part: `election "${this.#options.role}"`, make: 'createElection()' })
    if (this.#phase.state !== 'idle') return
    this.#phase = CAMPAIGNING
    this.#context = lastingContext()
    this.#running = this.#context(() => this.#run())
    void this.#stayAlive()
  }

  current(): Term | undefined {
    const { state, term } = this.#phase
    return state === 'leading' && term.isValid ? term : undefined
  }

  status(): ElectionStatus {
    const { role, instance } = this.#options
    const { term } = this.#phase
    return {
      role,
      instance,
      state: seenAs(this.#phase),
      term: term?.term,
      terms: this.#terms,
      error: this.#candidacy.error,
    }
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
    // A separate function, because the same work may be added twice.
    const own: Work = (term) => work(term)
    this.#works.add(own)
    if (this.#phase.state === 'leading') this.#begin('whileLeading', this.#phase.term, own)
    return () => this.#works.delete(own)
  }

  async resign(options: { readonly stayOutMs?: number | undefined } = {}): Promise<void> {
    const stayOutMs = requireInteger(`election("${this.#options.role}").resign.stayOutMs`, options.stayOutMs ?? 0, 0)
    const { term } = this.#phase
    if (term === undefined) return
    this.#coolDown.stayOut(stayOutMs)
    term.end('resigned')
    if (!this.#handlers.contain(term)) await this.#handedOver
  }

  health(): ElectionHealth {
    return healthOf(this.#phase, this.#candidacy.error)
  }

  async close(): Promise<void> {
    if (this.#phase.state === 'idle') this.#phase = CLOSED
    this.#closing.abort()
    this.#telemetry?.close()
    const { term } = this.#phase
    term?.end('closed')
    // Not from inside a handler: the hand-over waits for that handler, and continues when it returns.
    if (this.#handlers.contain(term)) return
    await this.#handedOver
    // A handler that never returns blocks the loop, but not the lease: close does not wait for it.
    if (stuckTerm(this.#phase) === undefined) await this.#running
    this.#phase = closed(this.#phase)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#phase = CAMPAIGNING
      const lease = await this.#candidacy.win()
      if (lease === undefined) continue
      const pause = this.#coolDown.after(await this.#lead(lease), Math.random())
      await this.#candidacy.stayOut(pause.ms, pause.error)
    }
    this.#phase = CLOSED
    this.#over.abort()
  }

  /** A held lease does not keep the process alive, but leading does, or a leader's process would exit at once. */
  async #stayAlive(): Promise<void> {
    const { signal } = this.#over
    while (!signal.aborted) await this.#options.clock.sleep(1 * HOUR, signal).catch(() => {})
  }

  async #lead(lease: Lease): Promise<RevokedReason> {
    const { role, instance, onGranted, onRevoked } = this.#options
    const term = new LedTerm(role, instance, lease)
    if (this.#closing.signal.aborted || !term.isValid) {
      // The lease ended before any listener was notified, so no term was granted.
      await lease.release()
      return 'lost'
    }
    const over = Promise.withResolvers<void>()
    this.#handedOver = over.promise
    this.#terms += 1
    // Work added by a listener or handler of this term begins there, and must not begin again here.
    const works = [...this.#works]
    this.#phase = { state: 'leading', term }
    this.#emit({ type: 'granted', role, term: term.term })
    this.#begin('onGranted', term, onGranted)
    for (const work of works) if (this.#works.has(work)) this.#begin('whileLeading', term, work)
    const reason = await term.ended
    // Status first, lease last: in between, readers see no leader, never two.
    this.#phase = { state: 'stepping_down', term, isStuck: false }
    this.#telemetry?.ended(reason)
    this.#emit({ type: 'revoked', role, term: term.term, reason })
    void this.#handlers.call('onRevoked', term, () => onRevoked(term, reason))
    await this.#windDown(lease, term, over.resolve)
    return reason
  }

  /** Not for a term that has ended by the clocks, because a previous handler may have blocked for too long. */
  #begin(name: string, term: LedTerm, work: Work): void {
    if (!term.isValid) return
    void this.#context(() => this.#handlers.call(name, term, () => work(term))).then((error) => {
      if (error === undefined) return
      this.#coolDown.failed(error)
      term.end('failed', error)
    })
  }

  /** Handlers first, then the lease; but the lease waits for at most `stopGraceMs`. */
  async #windDown(lease: Lease, term: LedTerm, handedOver: () => void): Promise<void> {
    const { clock, stopGraceMs, logger, role } = this.#options
    const handlers = this.#handlers.settled()
    const settled = await within(clock, stopGraceMs, handlers, STILL_RUNNING)
    await lease.release()
    if (settled === STILL_RUNNING) {
      this.#phase = { state: 'stepping_down', term, isStuck: true }
      logger.error({ role, term: term.term }, 'election: a handler outlives its term, not campaigning until it returns')
    }
    handedOver()
    // A hanging handler keeps neither the lease nor the process.
    if (this.#closing.signal.aborted) this.#over.abort()
    await handlers
    this.#phase = woundDown(this.#phase)
  }

  #emit(event: ElectionEvent): void {
    const { logger, role } = this.#options
    logger.info({ ...event }, `election: ${event.type}`)
    for (const listener of this.#listeners) {
      tell(listener, event, (error) => logger.error({ role, err: error }, 'election: a listener failed'))
    }
  }
}
