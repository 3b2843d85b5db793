import { AsyncLocalStorage } from 'node:async_hooks'
import { Acquisition, type Won } from './acquisition.ts'
import { LockBusy, LockReentered, LocksClosed, LockTimeout } from './errors.ts'
import { HeldLease } from './lease.ts'
import type { AcquireOptions, Lease, LeaseOptions, LockHolder, Locks, LocksHealth } from './lock.ts'
import { type LocksOptions, type ResolvedAcquire, type ResolvedLocks, resolveAcquire, resolveLocks } from './options.ts'
import type { AcquireReply, LockStore } from './store.ts'
import { Undoing } from './undo.ts'
import { waitInLine } from './waiting.ts'
import { within } from './within.ts'

/** `Locks` on any store. For those who write a store; others use `redisLocks` or `memoryLocks`. */
export function createLocks(store: LockStore, options: LocksOptions = {}): Locks {
  return new LeaseLocks(store, resolveLocks(options))
}

type Busy = Extract<AcquireReply, { status: 'busy' }>

const CLOSE_WAIT_MS = 1_000
/** The leases held by the `using` calls around the running code. */
type Around = readonly Lease[]

class LeaseLocks implements Locks {
  readonly #store: LockStore
  readonly #options: ResolvedLocks
  readonly #held = new Set<HeldLease>()
  readonly #trying = new Set<Promise<unknown>>()
  readonly #undoing: Undoing
  readonly #around = new AsyncLocalStorage<Around>()
  readonly #waiters = new Set<AbortController>()
  /** The highest token seen, of whatever key: the floor of all that follow. */
  #floor = 0
  #closed: Promise<void> | undefined

  constructor(store: LockStore, options: ResolvedLocks) {
    this.#store = store
    this.#options = options
    this.#undoing = new Undoing(store, options.clock, options.logger)
    store.onRestored(() => {
      for (const lease of this.#held) lease.verify()
    })
  }

  async tryAcquire(key: string, options: LeaseOptions = {}): Promise<Lease | undefined> {
    const resolved = resolveAcquire(key, options, this.#options)
    const reply = await this.#firstTry(this.#begin(key, resolved), key, resolved)
    return reply instanceof HeldLease ? reply : undefined
  }

  acquire(key: string, options: AcquireOptions = {}): Promise<Lease> {
    return this.#acquire(key, options)
  }

  async using<T>(key: string, options: AcquireOptions, work: (lease: Lease) => T | Promise<T>): Promise<T> {
    const lease = await this.#acquire(key, options)
    let result: T
    try {
      result = await this.#around.run([...(this.#around.getStore() ?? []), lease], () => work(lease))
    } catch (error) {
      await lease.release()
      throw error
    }
    const outcome = await lease.release()
    if (outcome === 'lost' && lease.lost !== undefined) throw lease.lost
    return result
  }

  async inspect(key: string): Promise<LockHolder | undefined> {
    this.#requireOpen()
    return this.#store.inspect(key)
  }

  health(): LocksHealth {
    const counts = { held: this.#held.size, waiting: this.#waiters.size }
    return this.#closed === undefined ? { ...this.#store.health(), ...counts } : { status: 'closed', ...counts }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    for (const waiter of this.#waiters) waiter.abort(new LocksClosed())
    const ending = Promise.all([...this.#held].map((lease) => lease.close()))
    await within(this.#options.clock, CLOSE_WAIT_MS, ending, undefined)
    await within(this.#options.clock, CLOSE_WAIT_MS, this.#quiet(), undefined)
    this.#undoing.stop()
    await this.#store.close()
  }

  async #acquire(key: string, options: AcquireOptions): Promise<HeldLease> {
    const resolved = resolveAcquire(key, options, this.#options)
    if (this.#around.getStore()?.some((lease) => lease.key === key && lease.state === 'held')) {
      throw new LockReentered(key)
    }
    const acquisition = this.#begin(key, resolved)
    const reply = await this.#firstTry(acquisition, key, resolved)
    if (reply instanceof HeldLease) return reply
    if (resolved.waitMs === 0) throw new LockBusy(key, reply.owner, Math.max(0, reply.retryAfterMs))
    return this.#wait(acquisition, key, resolved, reply)
  }

  /** Tries under way first: what they leave behind is then among the undoing. */
  async #quiet(): Promise<void> {
    await Promise.allSettled(this.#trying)
    await this.#undoing.settled()
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw new LocksClosed()
  }

  #begin(key: string, options: ResolvedAcquire): Acquisition {
    this.#requireOpen()
    options.signal?.throwIfAborted()
    return new Acquisition({
      store: this.#store,
      clock: this.#options.clock,
      key,
      options,
      floor: () => this.#floor,
      undo: (value, uncertain) => this.#undoing.begin(key, value, options.timing.ttlMs, uncertain),
    })
  }

  async #firstTry(acquisition: Acquisition, key: string, options: ResolvedAcquire): Promise<HeldLease | Busy> {
    try {
      const reply = await track(this.#trying, acquisition.attempt(0, options.signal))
      return reply.status === 'won' ? this.#hold(key, options, reply) : reply
    } catch (error) {
      acquisition.giveUp()
      throw error
    }
  }

  async #wait(acquisition: Acquisition, key: string, options: ResolvedAcquire, first: Busy): Promise<HeldLease> {
    const { clock, heartbeatMs } = this.#options
    let last = first
    const over = new AbortController()
    const onAbort = (): void => over.abort(options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    const cancelTimer = this.#abortAfter(over, options.waitMs, () => {
      return new LockTimeout(key, options.waitMs, last.owner, last.position)
    })
    this.#waiters.add(over)
    try {
      if (options.signal?.aborted === true) onAbort()
      this.#requireOpen()
      const onBusy = (reply: Busy): void => {
        last = reply
      }
      const waiting = waitInLine({ store: this.#store, clock, heartbeatMs, acquisition, over: over.signal, onBusy })
      return this.#hold(key, options, await track(this.#trying, waiting))
    } catch (error) {
      acquisition.giveUp()
      throw error
    } finally {
      this.#waiters.delete(over)
      cancelTimer()
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  #abortAfter(over: AbortController, waitMs: number, reason: () => Error): () => void {
    if (waitMs === Number.POSITIVE_INFINITY) return () => {}
    return this.#options.clock.setTimer(waitMs, () => over.abort(reason()))
  }

  #hold(key: string, options: ResolvedAcquire, won: Won): HeldLease {
    if (this.#closed !== undefined) {
      this.#undoing.begin(key, won.value, options.timing.ttlMs, won.stragglers)
      throw new LocksClosed()
    }
    this.#floor = Math.max(this.#floor, won.token)
    const lease = new HeldLease({
      ...won,
      store: this.#store,
      clock: this.#options.clock,
      logger: this.#options.logger,
      key,
      timing: options.timing,
      maxHoldMs: options.maxHoldMs,
      onEnd: (ended) => this.#held.delete(ended),
    })
    this.#held.add(lease)
    return lease
  }
}

/** In `all` until it settles. */
function track<T>(all: Set<Promise<unknown>>, work: Promise<T>): Promise<T> {
  all.add(work)
  const untrack = (): void => void all.delete(work)
  work.then(untrack, untrack)
  return work
}
