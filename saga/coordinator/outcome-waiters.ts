/**
 * Waits for the end of sagas: writers in this process notify it, and one query per poll finds sagas that other instances ended.
 */

import { lastingContext } from '../../core/async-contexts.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, toError } from '../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import { refuseOwnTransaction } from '../../core/sql.ts'
import { writeFault } from '../../core/write-fault.ts'
import { SagaError } from '../errors.ts'
import type { SagaKey } from '../store/store-types.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Options of waiting for an outcome. */
export interface OutcomeOptions {
  /** Ends the wait with the signal's reason; the saga continues. */
  readonly signal?: AbortSignal | undefined
  /**
   * Rejects with `saga.pending` after this time, whether the saga has started or not. @default waits until an existing saga ends,
   * and rejects with `saga.not_found` when the database has had no saga with this id for 30 s
   */
  readonly timeoutMs?: number | undefined
}

const OUTCOME_OPTIONS = optionNames<OutcomeOptions>({ signal: true, timeoutMs: true })

/** @throws TypeError / RangeError naming the option */
export function checkOutcomeOptions(path: string, { signal, timeoutMs }: OutcomeOptions): void {
  if (signal !== undefined && !hasMethods(signal, ['throwIfAborted', 'addEventListener'])) {
    throw wrongKind(`${path}.signal`, signal, 'an AbortSignal')
  }
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 0)) {
    throw invalidOption(`${path}.timeoutMs`, timeoutMs, 'a number of ms >= 0')
  }
}

/** Options of one call of `outcome`, across all its waits. */
export interface Patience extends OutcomeOptions {
  /** Monotonic ms at which `timeoutMs` ends. */
  readonly endsAt: number
}

interface Watched {
  readonly key: SagaKey
  readonly waiters: Set<Waiter>
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  /** False for a caller that passed a time limit. */
  readonly heedsMissing: boolean
  /** Monotonic ms of the first of consecutive reads that found no saga. */
  missingSince?: number | undefined
}

/** A saga that no read has found for this long was never started. A caller may wait for a saga just before its start. */
const MISSING_MS = 30 * SECOND

/** Pause after which new waiters are read together, because many sagas are often started at once. */
const GATHER_MS = 20

export class OutcomeWaiters {
  readonly #runtime: Pick<CoordinatorRuntime, 'sql' | 'reports' | 'clock' | 'logger' | 'pollMs'>
  readonly #trouble: RepeatedFailureLog
  readonly #watched = new Map<string, Watched>()
  /** Sagas not read yet: they may have ended before the wait. */
  #fresh: SagaKey[] = []
  #looping = false
  #closed = false
  #wake: (() => void) | undefined

  constructor(runtime: Pick<CoordinatorRuntime, 'sql' | 'reports' | 'clock' | 'logger' | 'pollMs'>) {
    this.#runtime = runtime
    this.#trouble = new RepeatedFailureLog(runtime.logger, 'asking for the end of sagas failed')
  }

  /** Called when a saga has ended or is stuck. */
  settled({ name, id }: SagaKey): void {
    const watched = this.#watched.get(`${name}/${id}`)
    this.#watched.delete(`${name}/${id}`)
    for (const { resolve } of watched?.waiters ?? []) resolve()
  }

  /** Starts the time limit. @throws TypeError / RangeError naming the option */
  patience(options: OutcomeOptions = {}): Patience {
    refuseUnknown('outcome', options, OUTCOME_OPTIONS)
    checkOutcomeOptions('outcome', options)
    return { ...options, endsAt: this.#runtime.clock.monotonic() + (options.timeoutMs ?? Number.POSITIVE_INFINITY) }
  }

  /**
   * Resolves once the saga has ended or is stuck.
   * @throws `saga.pending`; `saga.not_found`; the reason of the signal; `saga.closed`; `core.sql_own_transaction`, because no
   * saga advances
   *   before the caller's transaction has ended
   */
  async wait(key: SagaKey, options: Patience = this.patience()): Promise<void> {
    options.signal?.throwIfAborted()
    if (this.#closed) throw new SagaError('saga.closed')
    refuseOwnTransaction(this.#runtime.sql)
    const name = `${key.name}/${key.id}`
    const watched = this.#watched.get(name) ?? { key, waiters: new Set() }
    this.#watched.set(name, watched)
    let cleanUp = (): void => {}
    try {
      await new Promise<void>((resolve, reject) => {
        const waiter: Waiter = { resolve, reject, heedsMissing: options.timeoutMs === undefined }
        watched.waiters.add(waiter)
        const unbind = this.#bound(key, options, reject)
        cleanUp = () => {
          unbind()
          watched.waiters.delete(waiter)
        }
        this.#look(key)
      })
    } finally {
      cleanUp()
      if (watched.waiters.size === 0 && this.#watched.get(name) === watched) this.#watched.delete(name)
    }
  }

  /** Rejects all waiters. */
  close(): void {
    this.#closed = true
    for (const { waiters } of this.#watched.values()) {
      for (const { reject } of waiters) reject(new SagaError('saga.closed'))
    }
    this.#watched.clear()
    this.#wake?.()
  }

  #bound(key: SagaKey, { signal, timeoutMs, endsAt }: Patience, reject: (error: Error) => void): () => void {
    const onAbort = (): void => reject(toError(signal?.reason))
    signal?.addEventListener('abort', onAbort, { once: true })
    const onTimeout = (): void =>
      reject(new SagaError('saga.pending', { saga: key.name, id: key.id, timeoutMs: timeoutMs ?? 0 }))
    const { clock } = this.#runtime
    const leftMs = Math.max(0, endsAt - clock.monotonic())
    const cancel = timeoutMs === undefined ? undefined : clock.setTimer(leftMs, onTimeout)
    return () => {
      signal?.removeEventListener('abort', onAbort)
      cancel?.()
    }
  }

  #look(key: SagaKey): void {
    this.#fresh.push(key)
    if (this.#looping) {
      this.#wake?.()
      return
    }
    this.#looping = true
    void lastingContext()(() => this.#loop())
  }

  /** Runs while there are waiters: reads new ones after a moment, and all of them every `pollMs`. */
  async #loop(): Promise<void> {
    const { clock, pollMs } = this.#runtime
    let allAt = clock.monotonic() + pollMs
    while (this.#watched.size > 0) {
      if (this.#fresh.length > 0) await clock.sleep(GATHER_MS)
      const all = clock.monotonic() >= allAt
      if (all) allAt = clock.monotonic() + pollMs
      await this.#ask(all ? [...this.#watched.values()].map(({ key }) => key) : this.#fresh.splice(0))
      if (this.#watched.size > 0 && this.#fresh.length === 0) await this.#sleep(allAt - clock.monotonic())
    }
    // In the same turn as the last check for waiters, so that the next waiter starts a new loop.
    this.#fresh = []
    this.#looping = false
  }

  async #ask(keys: readonly SagaKey[]): Promise<void> {
    const { sql, reports } = this.#runtime
    const waiting = keys.filter(({ name, id }) => this.#watched.has(`${name}/${id}`))
    if (waiting.length === 0) return
    try {
      const found = await reports.standing(sql, waiting)
      for (const saga of found) if (saga.isEndedOrStuck) this.settled(saga)
      this.#missing(waiting, new Set(found.map(({ name, id }) => `${name}/${id}`)))
      this.#trouble.over()
    } catch (error) {
      if (writeFault(error) !== 'permanent') this.#trouble.failed(toError(error))
      else if (waiting.length === 1) this.#fail(waiting[0] as SagaKey, toError(error))
      // An id that the database refuses must not fail the query for all others.
      else for (const key of waiting) await this.#ask([key])
    }
  }

  /** Counts from the first read that found no saga, so time during which the database was unavailable does not count. */
  #missing(asked: readonly SagaKey[], found: ReadonlySet<string>): void {
    const now = this.#runtime.clock.monotonic()
    for (const { name, id } of asked) {
      const key = `${name}/${id}`
      for (const waiter of this.#watched.get(key)?.waiters ?? []) {
        if (found.has(key)) waiter.missingSince = undefined
        else waiter.missingSince ??= now
        if (!waiter.heedsMissing || now - (waiter.missingSince ?? now) < MISSING_MS) continue
        waiter.reject(new SagaError('saga.not_found', { saga: name, id }))
      }
    }
  }

  #fail({ name, id }: SagaKey, error: Error): void {
    const watched = this.#watched.get(`${name}/${id}`)
    this.#watched.delete(`${name}/${id}`)
    for (const { reject } of watched?.waiters ?? []) reject(error)
  }

  async #sleep(ms: number): Promise<void> {
    const stop = new AbortController()
    this.#wake = () => stop.abort()
    await this.#runtime.clock.sleep(ms, stop.signal).catch(() => {})
    this.#wake = undefined
  }
}
