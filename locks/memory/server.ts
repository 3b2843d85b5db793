import type { Clock } from '../../core/clock.ts'
import type { LockHolder } from '../lock.ts'
import type { AcquireReply, AcquireRequest } from '../store.ts'

interface Held {
  readonly value: string
  readonly token: number
  expiresAt: number
}

interface Waiter {
  keptUntil: number
}

const SWEEP_EVERY = 1_024

/**
 * What Redis is to `redisLocks`: the state that all contenders share. Every method is one synchronous, hence atomic,
 * step. Time is the clock's monotonic one.
 */
export class MemoryLockServer {
  readonly #clock: Clock
  readonly #held = new Map<string, Held>()
  /** Per key the waiters in order of arrival. */
  readonly #lines = new Map<string, Map<string, Waiter>>()
  readonly #listeners = new Map<string, () => void>()
  /** One counter for all keys: strictly rising per key too, and no memory per key. */
  #lastToken = 0
  #grants = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  acquire(request: AcquireRequest): AcquireReply {
    const { key, value } = request
    const held = this.#current(key)
    if (held?.value === value) {
      held.expiresAt = this.#clock.monotonic() + request.ttlMs
      return { status: 'granted', token: held.token }
    }
    const first = held === undefined ? this.#firstInLine(key) : undefined
    if (held === undefined && (first === undefined || first === value)) return this.#grant(request)
    if (request.keepPlaceMs > 0) this.#keepPlace(key, value, request.keepPlaceMs)
    if (first !== undefined) this.#listeners.get(first)?.()
    const endsAt = held?.expiresAt ?? this.#lines.get(key)?.get(first ?? '')?.keptUntil ?? 0
    return {
      status: 'busy',
      retryAfterMs: Math.max(0, endsAt - this.#clock.monotonic()),
      position: this.#position(key, value),
      owner: ownerOf(held?.value ?? first ?? ''),
    }
  }

  extend(key: string, value: string, ttlMs: number): 'extended' | 'lost' {
    const held = this.#current(key)
    if (held?.value !== value) return 'lost'
    held.expiresAt = this.#clock.monotonic() + ttlMs
    return 'extended'
  }

  release(key: string, value: string): 'released' | 'lost' {
    if (this.#current(key)?.value !== value) return 'lost'
    this.#held.delete(key)
    this.#wakeFirst(key)
    return 'released'
  }

  abandon(key: string, value: string): void {
    if (this.#current(key)?.value === value) this.#held.delete(key)
    this.#leave(key, value)
    if (this.#current(key) === undefined) this.#wakeFirst(key)
  }

  listen(value: string, onTurn: () => void): () => void {
    this.#listeners.set(value, onTurn)
    return () => this.#listeners.delete(value)
  }

  inspect(key: string): LockHolder | undefined {
    const held = this.#current(key)
    if (held === undefined) return undefined
    const expiresInMs = held.expiresAt - this.#clock.monotonic()
    const waiting = this.#lines.get(key)?.size ?? 0
    return { owner: ownerOf(held.value), token: held.token, expiresInMs, waiting }
  }

  /** Every key that is held or waited for. */
  keys(): readonly string[] {
    return [...new Set([...this.#held.keys(), ...this.#lines.keys()])].filter(
      (key) => this.#current(key) !== undefined || this.#lines.has(key),
    )
  }

  #current(key: string): Held | undefined {
    const held = this.#held.get(key)
    if (held === undefined || held.expiresAt > this.#clock.monotonic()) return held
    this.#held.delete(key)
    return undefined
  }

  #grant(request: AcquireRequest): AcquireReply {
    this.#leave(request.key, request.value)
    const timeUs = Math.floor(this.#clock.now() * 1_000)
    const token = Math.max(this.#lastToken + 1, timeUs, request.tokenFloor + 1)
    this.#lastToken = token
    this.#held.set(request.key, { value: request.value, token, expiresAt: this.#clock.monotonic() + request.ttlMs })
    if (++this.#grants % SWEEP_EVERY === 0) for (const key of this.#held.keys()) this.#current(key)
    return { status: 'granted', token }
  }

  #keepPlace(key: string, value: string, keepPlaceMs: number): void {
    const line = this.#lines.get(key) ?? new Map<string, Waiter>()
    this.#lines.set(key, line)
    const keptUntil = this.#clock.monotonic() + keepPlaceMs
    const waiter = line.get(value)
    if (waiter === undefined) line.set(value, { keptUntil })
    else waiter.keptUntil = keptUntil
  }

  /** Skips, and removes, waiters whose heartbeat or listener is gone. */
  #firstInLine(key: string): string | undefined {
    const line = this.#lines.get(key)
    if (line === undefined) return undefined
    for (const [value, waiter] of line) {
      if (waiter.keptUntil > this.#clock.monotonic() && this.#listeners.has(value)) return value
      this.#leave(key, value)
    }
    return undefined
  }

  #position(key: string, value: string): number | undefined {
    const place = [...(this.#lines.get(key)?.keys() ?? [])].indexOf(value)
    return place < 0 ? undefined : place
  }

  #leave(key: string, value: string): void {
    const line = this.#lines.get(key)
    line?.delete(value)
    if (line?.size === 0) this.#lines.delete(key)
  }

  #wakeFirst(key: string): void {
    const first = this.#firstInLine(key)
    if (first !== undefined) this.#listeners.get(first)?.()
  }
}

/** Values are `<random>.<owner>`. */
function ownerOf(value: string): string {
  return value.slice(value.indexOf('.') + 1)
}
