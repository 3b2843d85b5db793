import { within } from '../core/time-limit.ts'
import { Acquisition, type Won } from './acquisition.ts'
import { LockError } from './errors.ts'
import { HeldLease } from './lease.ts'
import type { ResolvedAcquire, ResolvedLocks } from './options.ts'
import { RecentMaxDelay } from './recent-max-delay.ts'
import { SharedTimers } from './shared-timers.ts'
import type { AcquireReply, LockStore } from './store.ts'
import { SwapRemoveSet } from './swap-remove-set.ts'
import { LocksTelemetry } from './telemetry.ts'
import { AcquisitionUndo } from './undo-acquisition.ts'
import { waitInLine } from './waiting.ts'

export type Busy = Extract<AcquireReply, { status: 'busy' }>

const CLOSE_WAIT_MS = 1_000

/** Acquires leases: tries, waits, renews held leases, and ends all of them at `close`. */
export class LeaseAcquirer {
  readonly #store: LockStore
  readonly #options: ResolvedLocks
  readonly #held = new SwapRemoveSet<HeldLease>()
  readonly #tries = new UnderWay()
  readonly #undoing: AcquisitionUndo
  readonly #lateness = new RecentMaxDelay()
  readonly #rounds: SharedTimers
  readonly #waiters = new Set<AbortController>()
  readonly #telemetry: LocksTelemetry | undefined
  #floor = 0
  #closed = false

  constructor(store: LockStore, options: ResolvedLocks) {
    this.#store = store
    this.#options = options
    this.#undoing = new AcquisitionUndo(store, options.clock, options.logger)
    this.#rounds = new SharedTimers(options.clock, (lateMs) =>
      this.#lateness.sawLoop(lateMs, options.clock.monotonic()),
    )
    const { telemetry, clock } = options
    this.#telemetry = telemetry === undefined ? undefined : new LocksTelemetry(telemetry, clock, () => this.counts)
    store.onDoubt((value) => {
      for (const lease of this.#held) if (value === undefined || lease.value === value) lease.verify()
    })
  }

  get counts(): { readonly held: number; readonly waiting: number } {
    return { held: this.#held.size, waiting: this.#waiters.size }
  }

  /** The highest token seen for any key, and the minimum of all later ones. */
  get floor(): number {
    return this.#floor
  }

  /** Recent delays of the event loop and the store. */
  get latelyMs(): number {
    return this.#lateness.ms(this.#options.clock.monotonic())
  }

  tryOnce(key: string, options: ResolvedAcquire): Promise<HeldLease | undefined> {
    const once = (): Promise<HeldLease | undefined> => this.#tryOnce(key, options)
    return this.#telemetry === undefined ? once() : this.#telemetry.acquiring(key, options.terms, once)
  }

  async #tryOnce(key: string, options: ResolvedAcquire): Promise<HeldLease | undefined> {
    const reply = await this.#firstTry(this.#begin(key, options), options)
    return reply instanceof HeldLease ? reply : undefined
  }

  /** @param leftMs remainder of `waitMs`, which several keys share */
  acquire(key: string, options: ResolvedAcquire, leftMs: number = options.waitMs): Promise<HeldLease> {
    if (this.#telemetry === undefined) return this.#acquire(key, options, leftMs)
    return this.#telemetry.acquiring(key, options.terms, () => this.#acquire(key, options, leftMs))
  }

  async #acquire(key: string, options: ResolvedAcquire, leftMs: number): Promise<HeldLease> {
    const acquisition = this.#begin(key, options)
    const reply = await this.#firstTry(acquisition, options, options.waitMs > 0)
    if (reply instanceof HeldLease) return reply
    if (options.waitMs === 0)
      throw new LockError('locks.busy', { key, owner: reply.owner, retryAfterMs: Math.max(0, reply.retryAfterMs) })
    return this.#wait(acquisition, key, options, Math.max(0, leftMs), reply)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const waiter of this.#waiters) waiter.abort(new LockError('locks.closed'))
    const ending = Promise.all([...this.#held].map((lease) => lease.close()))
    await within(this.#options.clock, CLOSE_WAIT_MS, ending, undefined)
    await within(this.#options.clock, CLOSE_WAIT_MS, this.#quiet(), undefined)
    this.#undoing.stop()
    this.#rounds.close()
    this.#telemetry?.close()
  }

  /** Waits for running tries first, because they may leave acquisitions to undo. */
  async #quiet(): Promise<void> {
    await this.#tries.none()
    await this.#undoing.settled()
  }

  #requireOpen(): void {
    if (this.#closed) throw new LockError('locks.closed')
  }

  #begin(key: string, options: ResolvedAcquire): Acquisition {
    this.#requireOpen()
    options.signal?.throwIfAborted()
    return new Acquisition({
      store: this.#store,
      clock: this.#options.clock,
      lateness: this.#lateness,
      key,
      options,
      floor: () => this.#floor,
      undo: (claim, uncertain) => this.#undoing.begin(claim, options.timing.ttlMs, uncertain),
    })
  }

  async #firstTry(acquisition: Acquisition, options: ResolvedAcquire, thenWaits = false): Promise<HeldLease | Busy> {
    this.#tries.begin()
    try {
      const reply = await acquisition.attempt(0, options.signal, thenWaits)
      if (reply.status === 'won') return this.#hold(options, reply)
      if (!thenWaits) acquisition.giveUp()
      return reply
    } catch (error) {
      acquisition.giveUp()
      throw error
    } finally {
      this.#tries.end()
    }
  }

  async #wait(
    acquisition: Acquisition,
    key: string,
    options: ResolvedAcquire,
    leftMs: number,
    first: Busy,
  ): Promise<HeldLease> {
    const { clock, heartbeatMs, outageMs } = this.#options
    let last = first
    const over = new AbortController()
    const onAbort = (): void => over.abort(options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    const cancelTimer = this.#abortAfter(over, leftMs, () => {
      return new LockError('locks.timeout', { key, waitMs: options.waitMs, owner: last.owner, position: last.position })
    })
    this.#waiters.add(over)
    this.#tries.begin()
    // A holder does not keep the process alive, but a waiter does.
    const letExit = clock.setTimer(Number.POSITIVE_INFINITY, noop, true)
    try {
      if (options.signal?.aborted === true) onAbort()
      this.#requireOpen()
      const onBusy = (reply: Busy): void => {
        last = reply
      }
      const line = { store: this.#store, clock, heartbeatMs, outageMs, acquisition, over: over.signal, onBusy }
      return this.#hold(options, await waitInLine(line))
    } catch (error) {
      acquisition.giveUp()
      throw error
    } finally {
      this.#waiters.delete(over)
      this.#tries.end()
      letExit()
      cancelTimer()
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  #abortAfter(over: AbortController, leftMs: number, reason: () => Error): () => void {
    if (leftMs === Number.POSITIVE_INFINITY) return () => {}
    return this.#options.clock.setTimer(leftMs, () => over.abort(reason()))
  }

  #hold(options: ResolvedAcquire, won: Won): HeldLease {
    if (this.#closed) {
      this.#undoing.begin(won.claim, options.timing.ttlMs, won.stragglers)
      throw new LockError('locks.closed')
    }
    this.#floor = Math.max(this.#floor, won.token)
    const ended = this.#telemetry?.holding(options.terms)
    const lease = new HeldLease({
      ...won,
      store: this.#store,
      clock: this.#options.clock,
      logger: this.#options.logger,
      rounds: this.#rounds,
      lateness: this.#lateness,
      timing: options.timing,
      maxHoldMs: options.maxHoldMs,
      onEnd: () => {
        this.#held.remove(place)
        ended?.(lease)
      },
    })
    const place = this.#held.add(lease)
    return lease
  }
}

function noop(): void {}

/** Counts running operations. */
class UnderWay {
  #count = 0
  #none: PromiseWithResolvers<void> | undefined

  begin(): void {
    this.#count++
  }

  end(): void {
    if (--this.#count === 0) this.#none?.resolve()
  }

  /** Resolves when none is running. */
  async none(): Promise<void> {
    if (this.#count === 0) return
    this.#none ??= Promise.withResolvers()
    await this.#none.promise
  }
}
