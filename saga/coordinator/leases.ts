/**
 * The sagas that this process runs, and their leases: renewed together every third of the lease, abandoned when renewals fail for so long
 * that the next one would be too late. The signal is best effort: after a stall or a suspended machine it aborts late, so
 * `requireCertain` reads the clocks before each step is called. The epoch in every write protects the data.
 */

import { lastingContext } from '../../core/async-contexts.ts'
import { SECOND } from '../../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../../core/elapsed-time.ts'
import { toError } from '../../core/errors.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import { SagaError } from '../errors.ts'
import type { SagaLease } from '../store/store-types.ts'
import { cacheKey, type LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Lease of a saga that this process runs. */
export interface HeldLease extends SagaLease {
  /** Aborts when the lease is lost or may be lost, and when the coordinator closes. */
  readonly signal: AbortSignal
}

interface Entry extends HeldLease {
  readonly controller: AbortController
  /** Time just before the statement that took or last renewed the lease was sent. */
  confirmedAt: Instant
}

/** Share of a lease at its end in which no step begins, because clocks run at different speeds. */
const MARGIN = 0.1

/** How long closing waits for a running renewal. */
const RENEWAL_MS = 1 * SECOND

export class Leases {
  readonly #runtime: CoordinatorRuntime
  readonly #trouble: RepeatedFailureLog
  /** Held leases by the `cacheKey` of their saga. */
  readonly #held = new Map<string, Entry>()
  #cancelTimer: (() => void) | undefined
  #renewing: Promise<void> | undefined
  /** True if the previous renewal failed. */
  #isInVain = false

  constructor(runtime: CoordinatorRuntime) {
    this.#runtime = runtime
    this.#trouble = new RepeatedFailureLog(runtime.logger, 'saga leases not renewed')
  }

  get size(): number {
    return this.#held.size
  }

  /**
   * Stores the lease that was written with this snapshot, and ends an earlier one of the saga: this process has taken it again.
   */
  hold({ row, takenAt }: LoadedSaga): HeldLease {
    const controller = new AbortController()
    const { name, id, epoch } = row
    const entry: Entry = { name, id, epoch, controller, signal: controller.signal, confirmedAt: takenAt }
    const former = this.#held.get(cacheKey(row))
    if (former !== undefined) this.#lose(former)
    this.#held.set(cacheKey(row), entry)
    this.#schedule()
    return entry
  }

  /**
   * Renews a lease after a third of its time, such as that of a saga started in a transaction that stayed open: other
   * coordinators may have taken it. @throws `saga.ownership_lost` when another coordinator took the saga; an error of the
   * database
   */
  async secure(lease: HeldLease): Promise<void> {
    const entry = lease as Entry
    if (this.#ageMs(entry) >= this.#runtime.leaseMs / 3) await this.#extend([entry])
    if (entry.signal.aborted) throw toError(entry.signal.reason)
  }

  /** Tells whether no other coordinator can have taken the saga yet, according to the clocks of this machine. */
  isCertain(lease: HeldLease): boolean {
    return !lease.signal.aborted && this.#ageMs(lease as Entry) < this.#runtime.leaseMs * (1 - MARGIN)
  }

  /**
   * Called just before a function of the saga is called. Gives up a lease that is uncertain: since the last renewal the process
   * was stopped, its event loop was blocked or its machine was suspended, and no timer has fired yet.
   * @throws `saga.ownership_lost`; the reason of `lease.signal`
   */
  requireCertain(lease: HeldLease): void {
    if (this.isCertain(lease)) return
    if (!lease.signal.aborted) this.#lose(lease as Entry)
    throw toError(lease.signal.reason)
  }

  /** Forgets the lease; the last written row says who owns the saga. */
  drop(lease: HeldLease): void {
    this.#forget(lease as Entry)
    if (this.#held.size === 0) this.#cancelTimer?.()
    if (this.#held.size === 0) this.#cancelTimer = undefined
  }

  /** Aborts all signals, then gives every lease back, so that others take over at once. Never rejects. */
  async releaseAll(reason: Error): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    const leases = [...this.#held.values()]
    for (const { controller } of leases) controller.abort(reason)
    this.#held.clear()
    // A later renewal must find no lease of this process.
    if (this.#renewing !== undefined) await finishesWithin(this.#runtime.clock, RENEWAL_MS, this.#renewing)
    if (leases.length === 0) return
    const { leaseStore, sql, instance, logger } = this.#runtime
    try {
      await leaseStore.release(sql, instance, leases)
    } catch (error) {
      logger.warn({ err: toError(error), sagas: leases.length }, 'saga leases not released, they expire')
    }
  }

  #schedule(): void {
    if (this.#cancelTimer !== undefined) return
    const { clock, leaseMs } = this.#runtime
    this.#cancelTimer = lastingContext()(() => clock.setTimer(leaseMs / 3, () => this.#beat()))
  }

  #beat(): void {
    this.#cancelTimer = undefined
    // After a clock change or a blocked event loop, held leases look expired, so the server is asked about them first.
    if (this.#isInVain || this.#renewing !== undefined) this.#giveUpExpiring()
    if (this.#held.size === 0) return
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined
    })
    this.#schedule()
  }

  #giveUpExpiring(): void {
    const lastMs = (2 * this.#runtime.leaseMs) / 3
    for (const entry of this.#held.values()) if (this.#ageMs(entry) > lastMs) this.#lose(entry)
  }

  async #renew(): Promise<void> {
    const leases = [...this.#held.values()]
    try {
      await this.#extend(leases)
      this.#isInVain = false
      this.#trouble.over()
    } catch (error) {
      this.#isInVain = true
      this.#trouble.failed(toError(error), { sagas: leases.length })
    }
  }

  async #extend(leases: readonly Entry[]): Promise<void> {
    const { leaseStore, sql, instance, leaseMs, clock } = this.#runtime
    const sentAt = readInstant(clock)
    const rows = await leaseStore.renew(sql, instance, leaseMs, leases)
    const kept = new Set(rows.map(cacheKey))
    for (const entry of leases) {
      if (kept.has(cacheKey(entry))) entry.confirmedAt = sentAt
      else if (this.#held.get(cacheKey(entry)) === entry) this.#lose(entry)
    }
  }

  #ageMs({ confirmedAt }: Entry): number {
    return elapsedMs(confirmedAt, readInstant(this.#runtime.clock))
  }

  #forget(entry: Entry): void {
    if (this.#held.get(cacheKey(entry)) === entry) this.#held.delete(cacheKey(entry))
  }

  #lose(entry: Entry): void {
    this.#forget(entry)
    this.#runtime.logger.warn({ saga: entry.name, id: entry.id, epoch: entry.epoch }, 'saga lease lost')
    entry.controller.abort(new SagaError('saga.ownership_lost', { saga: entry.name, id: entry.id }))
  }
}
