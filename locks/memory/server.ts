import { type Clock, MINUTE } from '../../core/clock.ts'
import type { ForcedRelease, ForceOptions, LockInfo } from '../lock.ts'
import type { AcquireReply, AcquireRequest, Claim, HolderChanged, NotHeld } from '../store.ts'
import { type Held, OneLock } from './one-lock.ts'

/** A value that is refused from now on; with `forced` if an operator ended its lease. */
interface Tombstone {
  readonly until: number
  readonly forced?: ForceOptions
}

const SWEEP_EVERY = 1_024
const AUDIT_ENTRIES = 100
const FORCED_KNOWN_MS = 1 * MINUTE

/**
 * The state that all contenders share, like Redis for `redisLocks`. Every method is one synchronous, hence atomic, step. Time is
 * the clock's monotonic time.
 */
export class MemoryLockServer {
  readonly #clock: Clock
  readonly #locks = new Map<string, OneLock>()
  readonly #listeners = new Map<string, (token?: number) => void>()
  readonly #dead = new Map<string, Tombstone>()
  readonly #trails = new Map<string, ForcedRelease[]>()
  readonly #onForced = new Set<(value: string) => void>()
  /** Counter for all keys: strictly increasing per key too, without memory per key. */
  #lastToken = 0
  #grants = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  acquire(claim: Claim, request: AcquireRequest): AcquireReply | 'given up' {
    const now = this.#clock.monotonic()
    const lock = this.#lock(claim.key)
    const endsAt = now + request.ttlMs + claim.lockDelayMs
    const mine = lock.holder(claim.value, now)
    if (mine !== undefined) {
      mine.endsAt = endsAt
      return { status: 'granted', token: mine.token }
    }
    if (this.#tombstone(claim.value) !== undefined) return 'given up'
    const busy = lock.barred(claim, request, now)
    if (busy !== undefined) return { ...busy, lastToken: this.#lastToken }
    const held = this.#grant(claim, request)
    lock.hold(held, now)
    if (++this.#grants % SWEEP_EVERY === 0) this.#sweep(now)
    return { status: 'granted', token: held.token }
  }

  extend(claim: Claim, ttlMs: number): 'extended' | NotHeld {
    const now = this.#clock.monotonic()
    const mine = this.#locks.get(claim.key)?.holder(claim.value, now)
    if (mine === undefined) return this.#notHeld(claim.value)
    mine.endsAt = now + ttlMs + claim.lockDelayMs
    return 'extended'
  }

  release(claim: Claim, forgetAfterMs: number): 'released' | NotHeld {
    const now = this.#clock.monotonic()
    const lock = this.#locks.get(claim.key)
    const mine = lock?.holder(claim.value, now)
    const outcome = mine === undefined ? this.#notHeld(claim.value) : 'released'
    this.#bury(claim.value, forgetAfterMs)
    if (mine !== undefined) lock?.release(mine, (next, request) => this.#grant(next, request), now)
    this.#forgetIdle(claim.key, now)
    return outcome
  }

  abandon(claim: Claim, forgetAfterMs: number): void {
    const now = this.#clock.monotonic()
    this.#bury(claim.value, forgetAfterMs)
    this.#locks.get(claim.key)?.leave(claim.value, { holders: true, line: true }, now)
    this.#forgetIdle(claim.key, now)
  }

  listen(value: string, onTurn: (token?: number) => void): () => void {
    this.#listeners.set(value, onTurn)
    return () => this.#listeners.delete(value)
  }

  inspect(key: string): LockInfo | undefined {
    const info = this.#locks.get(key)?.info(this.#clock.monotonic())
    return info === undefined || info.holders.length + info.waiters.length === 0 ? undefined : info
  }

  list(limit: number, prefix: string): readonly LockInfo[] {
    const now = this.#clock.monotonic()
    const held = [...this.#locks].filter(([key, lock]) => key.startsWith(prefix) && lock.isHeld(now))
    return held.slice(0, limit).map(([, lock]) => lock.info(now))
  }

  forceRelease(
    key: string,
    force: ForceOptions,
    tokenFloor: number,
    tokens?: readonly number[],
  ): ForcedRelease | HolderChanged {
    const now = this.#clock.monotonic()
    const lock = this.#lock(key)
    const others = lock.info(now).holders.filter(({ token }) => tokens?.includes(token) === false)
    if (others.length > 0) return { others: others.map(({ owner }) => owner) }
    const ended = lock.endAll(now)
    for (const { claim, endsAt } of ended) {
      this.#dead.set(claim.value, { until: Math.max(now + FORCED_KNOWN_MS, endsAt), forced: force })
    }
    const entry: ForcedRelease = {
      key,
      by: force.by,
      reason: force.reason,
      at: this.#clock.now(),
      token: this.#nextToken(tokenFloor),
      ended: ended.map(({ claim, token }) => ({ owner: claim.owner, token, mode: claim.mode })),
    }
    this.#trails.set(key, [...(this.#trails.get(key) ?? []), entry].slice(-AUDIT_ENTRIES))
    for (const { claim } of ended) for (const listener of this.#onForced) listener(claim.value)
    lock.wakeNext(now)
    this.#forgetIdle(key, now)
    return entry
  }

  audit(key: string): readonly ForcedRelease[] {
    return this.#trails.get(key) ?? []
  }

  /** Calls `listener` with the value of each lease that is ended by force. @returns a function that stops it */
  onForced(listener: (value: string) => void): () => void {
    this.#onForced.add(listener)
    return () => this.#onForced.delete(listener)
  }

  /** Every key that is held or waited for. */
  keys(): readonly string[] {
    const now = this.#clock.monotonic()
    return [...this.#locks].filter(([, lock]) => !lock.isIdle(now)).map(([key]) => key)
  }

  #lock(key: string): OneLock {
    const known = this.#locks.get(key)
    if (known !== undefined) return known
    const lock = new OneLock(key, {
      hears: (value) => this.#listeners.has(value),
      ring: (value, token) => this.#listeners.get(value)?.(token),
    })
    this.#locks.set(key, lock)
    return lock
  }

  #grant(claim: Claim, request: AcquireRequest): Held {
    const endsAt = this.#clock.monotonic() + request.ttlMs + claim.lockDelayMs
    return { claim, token: this.#nextToken(request.tokenFloor), sinceAt: this.#clock.now(), endsAt }
  }

  #nextToken(floor: number): number {
    const timeUs = Math.floor(this.#clock.now() * 1_000)
    this.#lastToken = Math.max(this.#lastToken + 1, timeUs, floor + 1)
    return this.#lastToken
  }

  #bury(value: string, forMs: number): void {
    if (forMs > 0 && !this.#dead.has(value)) this.#dead.set(value, { until: this.#clock.monotonic() + forMs })
  }

  #tombstone(value: string): Tombstone | undefined {
    const tombstone = this.#dead.get(value)
    return tombstone !== undefined && tombstone.until > this.#clock.monotonic() ? tombstone : undefined
  }

  #notHeld(value: string): NotHeld {
    const forced = this.#tombstone(value)?.forced
    return forced === undefined ? 'lost' : { forced }
  }

  #forgetIdle(key: string, now: number): void {
    if (this.#locks.get(key)?.isIdle(now) === true) this.#locks.delete(key)
  }

  /** Removes expired entries, so that memory does not grow with every key ever used. */
  #sweep(now: number): void {
    for (const key of this.#locks.keys()) this.#forgetIdle(key, now)
    for (const [value, { until }] of this.#dead) if (until <= now) this.#dead.delete(value)
  }
}
