import { endingContext } from '../core/async-contexts.ts'
import { toError } from '../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, requireFunction, wrongKind } from '../core/option-checks.ts'
import { withLeases } from './current-lease.ts'
import { LockError } from './errors.ts'
import { HealthProbingStore } from './health-probing-store.ts'
import type { HeldLease } from './lease.ts'
import { LeaseAcquirer } from './lease-acquirer.ts'
import type {
  AcquireOptions,
  ForcedRelease,
  ForceOptions,
  HoldersSeen,
  Lease,
  LeaseOptions,
  LeaseSet,
  ListOptions,
  LockInfo,
  Locks,
  LocksHealth,
} from './lock.ts'
import { canonicalOrder, MultiKeyLease, releaseInReverse } from './multi-key-lease.ts'
import {
  LOCKS_NAMES,
  type LocksOptions,
  type ResolvedAcquire,
  type ResolvedLocks,
  requireKey,
  resolveAcquire,
  resolveForce,
  resolveList,
  resolveLocks,
} from './options.ts'
import type { LockFeature, LockOperator, LockStore } from './store.ts'

const NAMES = optionNames<LocksOptions>(LOCKS_NAMES)

/**
 * Creates `Locks` on any store, for authors of stores; others use `redisLocks` or `memoryLocks`.
 * @throws TypeError / RangeError naming the option
 */
export function createLocks(store: LockStore, options: LocksOptions = {}): Locks {
  refuseUnknown('createLocks', options, NAMES)
  requireStore(store)
  return locksOn(store, options)
}

const METHODS = [
  'newValue',
  'acquire',
  'extend',
  'release',
  'abandon',
  'listen',
  'inspect',
  'onDoubt',
  'health',
  'close',
] as const

/** @throws TypeError naming the missing member */
function requireStore(store: LockStore): void {
  const isObject = typeof store === 'object' && store !== null
  const missing = isObject ? METHODS.filter((name) => !hasMethods(store, [name])) : METHODS
  const objects = isObject ? (['features', 'operator'] as const).filter((name) => typeof store[name] !== 'object') : []
  if (missing.length === METHODS.length)
    throw wrongKind('createLocks.store', store, 'a lock store: see LockStore, or take redisLocks or memoryLocks')
  const [first] = [...missing, ...objects]
  if (first !== undefined) throw wrongKind(`createLocks.store.${first}`, store[first], 'what LockStore says')
}

/** For our own stores on a server, whose factories have checked the names of their options. */
export function locksOn(store: LockStore, options: LocksOptions): Locks {
  const resolved = resolveLocks(options)
  return new LeaseLocks(new HealthProbingStore(store, resolved.clock), resolved)
}

/** For a store in this process, which is always available: its health is its own. */
export function locksInProcess(store: LockStore, options: LocksOptions): Locks {
  return new LeaseLocks(store, resolveLocks(options))
}

/** The leases held by the `using` calls around the running code, with their owners. */
const storage = endingContext<ReadonlyArray<{ readonly locks: Locks; readonly lease: Lease }>>()

class LeaseLocks implements Locks {
  readonly #store: LockStore
  readonly #options: ResolvedLocks
  readonly #granting: LeaseAcquirer
  #closed: Promise<void> | undefined

  constructor(store: LockStore, options: ResolvedLocks) {
    this.#store = store
    this.#options = options
    this.#granting = new LeaseAcquirer(store, options)
  }

  async tryAcquire(key: string, options: LeaseOptions = {}): Promise<Lease | undefined> {
    return this.#granting.tryOnce(key, this.#resolve(key, options))
  }

  acquire(key: string, options: AcquireOptions = {}): Promise<Lease> {
    try {
      return this.#acquire(key, options)
    } catch (error) {
      return Promise.reject(toError(error))
    }
  }

  async using<T>(key: string, options: AcquireOptions, work: (lease: Lease) => T | Promise<T>): Promise<T> {
    requireFunction(`using("${key}") work`, work)
    const lease = await this.#acquire(key, options)
    return this.#work([lease], lease, work)
  }

  async acquireAll(keys: readonly string[], options: AcquireOptions = {}): Promise<LeaseSet> {
    return new MultiKeyLease(await this.#acquireAll(keys, options))
  }

  async usingAll<T>(
    keys: readonly string[],
    options: AcquireOptions,
    work: (leases: LeaseSet) => T | Promise<T>,
  ): Promise<T> {
    requireFunction('usingAll work', work)
    const leases = await this.#acquireAll(keys, options)
    return this.#work(leases, new MultiKeyLease(leases), work)
  }

  async inspect(key: string): Promise<LockInfo | undefined> {
    this.#requireOpen()
    return this.#store.inspect(requireKey(key))
  }

  async list(options: ListOptions = {}): Promise<readonly LockInfo[]> {
    return this.#operator('list').list(resolveList(options))
  }

  async forceRelease(key: string, options: ForceOptions & HoldersSeen): Promise<ForcedRelease> {
    const operator = this.#operator('forceRelease')
    const { floor } = this.#granting
    const [force, { tokens }] = resolveForce(requireKey(key), options)
    const forced = await operator.forceRelease(key, force, floor, tokens)
    if ('others' in forced) throw new LockError('locks.holder_changed', { key, holders: forced.others })
    this.#options.logger.warn({ ...forced }, 'lock released by force')
    return forced
  }

  async audit(key: string): Promise<readonly ForcedRelease[]> {
    return this.#operator('audit').audit(requireKey(key))
  }

  health(): LocksHealth {
    const { counts } = this.#granting
    return this.#closed === undefined ? { ...this.#store.health(), ...counts } : { status: 'closed', ...counts }
  }

  close(): Promise<void> {
    this.#closed ??= this.#granting.close().then(() => this.#store.close())
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Throws errors of the call at once, and returns the inner promise, to save one per lock. */
  #acquire(key: string, options: AcquireOptions): Promise<HeldLease> {
    const resolved = this.#resolve(key, options)
    this.#refuseReentry(key)
    return this.#granting.acquire(key, resolved)
  }

  /** Acquires one key after the other in the canonical order, under one deadline; all, or none. */
  async #acquireAll(keys: readonly string[], options: AcquireOptions): Promise<readonly HeldLease[]> {
    const { clock } = this.#options
    const ordered = canonicalOrder(keys)
    const wishes = ordered.map((key) => ({ key, resolved: this.#resolve(key, options) }))
    for (const key of ordered) this.#refuseReentry(key)
    const begunAt = clock.monotonic()
    const held: HeldLease[] = []
    try {
      for (const { key, resolved } of wishes) {
        const leftMs = resolved.waitMs - (clock.monotonic() - begunAt)
        // Without one of them the others are useless, so its loss ends the wait for the rest.
        const signals = [resolved.signal, ...held.map((lease) => lease.signal)].filter((signal) => signal !== undefined)
        const signal = held.length === 0 ? resolved.signal : AbortSignal.any(signals)
        held.push(await this.#granting.acquire(key, { ...resolved, signal }, leftMs))
      }
      for (const lease of held) lease.assertValid()
      return held
    } catch (error) {
      await releaseInReverse(held)
      throw error
    }
  }

  /** Calls `work` under leases that are already held, and gives them back whatever its outcome. */
  async #work<L extends Pick<Lease, 'release'>, T>(
    leases: readonly HeldLease[],
    held: L,
    work: (held: L) => T | Promise<T>,
  ): Promise<T> {
    let result: T
    try {
      const around = [...(storage.getStore() ?? []), ...leases.map((lease) => ({ locks: this, lease }))]
      result = await storage.run(around, () => withLeases(leases, () => work(held)))
    } catch (error) {
      await held.release()
      throw error
    }
    await held.release()
    const lost = leases.find((lease) => lease.lost !== undefined)?.lost
    if (lost !== undefined) throw lost
    return result
  }

  #resolve(key: string, options: AcquireOptions): ResolvedAcquire {
    const resolved = resolveAcquire(key, options, this.#options, this.#granting.latelyMs)
    const { shared, lockDelay } = this.#store.features
    if (resolved.terms.mode === 'shared') this.#require('mode "shared", and no permits', shared)
    if (resolved.terms.lockDelayMs > 0) this.#require('lockDelayMs', lockDelay)
    return resolved
  }

  #require(name: string, feature: LockFeature): void {
    if (feature !== true)
      throw new LockError('locks.unsupported', { store: this.#store.name, feature: name, why: feature.missing })
  }

  #refuseReentry(key: string): void {
    const isHeld = ({ locks, lease }: { readonly locks: Locks; readonly lease: Lease }): boolean =>
      locks === this && lease.key === key && lease.state === 'held'
    if (storage.getStore()?.some(isHeld)) throw new LockError('locks.reentered', { key })
  }

  #operator(name: keyof LockOperator): LockOperator {
    this.#requireOpen()
    const { operator } = this.#store
    if ('missing' in operator)
      throw new LockError('locks.unsupported', { store: this.#store.name, feature: name, why: operator.missing })
    return operator
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw new LockError('locks.closed')
  }
}
