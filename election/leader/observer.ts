/**
 * Observes who leads a role without being a candidate.
 *
 * It reads the store every `pollMs` and reports changes. Terms never go back: an answer with an older term than one seen before
 * (a replica, a store that was restored) is ignored. Events between two reads can be missed, so a leader that led for less than
 * `pollMs` may never be seen, and `current()` is up to `pollMs` old.
 *
 * Cost: one request per `pollMs`, so 1 per second by default, for each observer. None while not started, none after `close`.
 *
 * Not promised: that the observed leader still leads. Do not use it to decide who may write; use the term for that.
 */
import { lastingContext } from '../../core/async-contexts.ts'
import { type Clock, SECOND } from '../../core/clock.ts'
import { requireInteger, requireText, toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, requireFunction, wrongKind } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../core/runtime-options.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import type { Locks } from '../../locks/lock.ts'
import type { LeaderInfo } from './election.ts'
import { ElectionError } from './errors.ts'
import { leaderOf } from './leader-lookup.ts'

/** Options of `createObserver`. */
export interface ObserverOptions extends RuntimeOptions {
  /** Only `inspect` is used. The caller closes it. */
  readonly locks: Pick<Locks, 'inspect'>
  /** The observed role, as in `createElection`. */
  readonly role: string
  /** Interval of reads, in ms; at least 10. @default 1 second */
  readonly pollMs?: number | undefined
  /** Aborting it closes the observer. */
  readonly signal?: AbortSignal | undefined
}

/** Iterating it starts it, and yields the current state, then each change; a slow reader gets the newest and misses others. */
export interface Observer extends AsyncDisposable, AsyncIterable<LeaderChange> {
  /**
   * Starts to read. Returns at once; an unavailable store is retried forever. Keeps the process alive until closed. Idempotent
   * until then. @throws `election.closed`
   */
  start(): void
  /** Returns the last observation; `undefined` while nothing is known: before the first answer, and after `unknown`. */
  current(): SeenLeader | undefined
  /** Calls `listener` for each change, in order, with rising terms; its errors are logged. Returns a function that stops it. */
  subscribe(listener: (change: LeaderChange) => void): () => void
  health(): ObserverHealth
  /** Ends the iterations, too. Idempotent, never rejects. */
  close(): Promise<void>
}

/**
 * A change of leadership:
 * - `elected`: `leader` leads, for `term`.
 * - `vacant`: there is no leader; `term` was the last one seen, if any.
 * - `unknown`: the store has been unreachable since before the last seen lease expired, or since there was no leader. If the same
 *   leader still leads, `elected` follows with the same term.
 */
export interface LeaderChange {
  readonly type: 'elected' | 'vacant' | 'unknown'
  readonly role: string
  readonly leader: string | undefined
  readonly term: number | undefined
}

/** The last observed leader. */
export interface SeenLeader {
  /** The leader; `undefined`: none. */
  readonly leader: string | undefined
  readonly term: number | undefined
}

/** Whether an observer can read the leader. */
export interface ObserverHealth {
  /** `down`: the store did not answer the last time, or answers with past terms. */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}

const NAMES = optionNames<ObserverOptions>({
  locks: true,
  role: true,
  pollMs: true,
  signal: true,
  ...RUNTIME_NAMES,
})

/** @throws TypeError / RangeError naming the option */
export function createObserver(options: ObserverOptions): Observer {
  refuseUnknown('createObserver', options, NAMES)
  if (!hasMethods(options.locks, ['inspect'])) {
    throw wrongKind('createObserver.locks', options.locks, 'locks such as redisLocks({ url }) or memoryLocks()')
  }
  return new PollingObserver(options)
}

class PollingObserver implements Observer {
  readonly #locks: Pick<Locks, 'inspect'>
  readonly #role: string
  readonly #pollMs: number
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #closing = new AbortController()
  readonly #listeners = new Set<(change: LeaderChange) => void>()
  #running: Promise<void> | undefined
  #last: LeaderChange | undefined
  #changed = Promise.withResolvers<void>()
  #highestTerm: number | undefined
  /** Monotonic time at which the lease of the last observed leader expires, unless renewed. */
  #believedUntil = 0
  #problem: string | undefined

  constructor(options: ObserverOptions) {
    this.#locks = options.locks
    this.#role = requireText('createObserver.role', options.role)
    this.#pollMs = requireInteger(`observer("${this.#role}").pollMs`, options.pollMs ?? 1 * SECOND, 10)
    const { logger, clock } = resolveRuntime(`observer("${this.#role}")`, options)
    this.#logger = logger
    this.#clock = clock
    const onAbort = (): void => void this.close()
    if (options.signal?.aborted === true) onAbort()
    else options.signal?.addEventListener('abort', onAbort, { once: true, signal: this.#closing.signal })
  }

  start(): void {
    if (this.#closing.signal.aborted)
      throw new ElectionError('election.closed', { part: `observer of "${this.#role}"`, make: 'createObserver()' })
    this.#running ??= lastingContext()(() => this.#watch(this.#closing.signal))
  }

  current(): SeenLeader | undefined {
    if (this.#last === undefined || this.#last.type === 'unknown' || this.#isForgotten()) return undefined
    return { leader: this.#last.leader, term: this.#last.term }
  }

  subscribe(listener: (change: LeaderChange) => void): () => void {
    requireFunction(`observer("${this.#role}").subscribe`, listener)
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  health(): ObserverHealth {
    if (this.#closing.signal.aborted) return { status: 'closed' }
    if (this.#running === undefined) return { status: 'idle' }
    return this.#problem === undefined ? { status: 'up' } : { status: 'down', detail: this.#problem }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the observer is closed'))
    this.#changed.resolve()
    await this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<LeaderChange, void, void> {
    if (!this.#closing.signal.aborted) this.start()
    let given: LeaderChange | undefined
    while (!this.#closing.signal.aborted) {
      const next = this.#changed.promise
      if (this.#last === given) await next
      else if (this.#last !== undefined) yield (given = this.#last)
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const leader = await unlessAborted(signal, leaderOf(this.#locks, this.#role))
        this.#problem = undefined
        this.#see(leader)
      } catch (error) {
        if (!signal.aborted) this.#notAnswered(error)
      }
      await this.#clock.sleep(this.#pollMs, signal).catch(() => {})
    }
  }

  #see(leader: LeaderInfo | undefined): void {
    if (leader === undefined) {
      if (this.#last?.type !== 'vacant') this.#tell('vacant', undefined, this.#highestTerm)
      return
    }
    const { term, instance, expiresInMs } = leader
    const isOver = this.#last?.type === 'vacant' && term === this.#highestTerm
    if (isOver || term < (this.#highestTerm ?? 0)) {
      this.#problem = `the store answers with term ${term}, and term ${this.#highestTerm} was seen before: is it a replica, or set back?`
      this.#logger.warn({ role: this.#role, term, seen: this.#highestTerm }, 'observer: an older term is ignored')
      this.#forget()
      return
    }
    this.#believedUntil = this.#clock.monotonic() + expiresInMs
    const isKnown = this.#last?.type === 'elected' && this.#last.term === term
    this.#highestTerm = term
    if (!isKnown) this.#tell('elected', instance, term)
  }

  #notAnswered(error: unknown): void {
    const level = this.#problem === undefined ? 'warn' : 'debug'
    this.#problem = toError(error).message
    this.#logger[level]({ role: this.#role, err: error }, 'observer: cannot see who leads, looking again')
    this.#forget()
  }

  #forget(): void {
    if (this.#isForgotten()) this.#tell('unknown', undefined, this.#highestTerm)
  }

  /** Tells whether the last observation is outdated: the lease has expired since, or there was no leader and may be one now. */
  #isForgotten(): boolean {
    if (this.#problem === undefined || this.#last === undefined || this.#last.type === 'unknown') return false
    return this.#last.type === 'vacant' || this.#clock.monotonic() >= this.#believedUntil
  }

  #tell(type: LeaderChange['type'], leader: string | undefined, term: number | undefined): void {
    const change: LeaderChange = Object.freeze({ type, role: this.#role, leader, term })
    this.#last = change
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (error) {
        this.#logger.error({ role: this.#role, err: error }, 'observer: a listener failed')
      }
    }
  }
}
