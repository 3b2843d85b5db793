import type { LockHolder, LockInfo } from '../lock.ts'
import type { AcquireReply, AcquireRequest, Claim } from '../store.ts'

export interface Held {
  readonly claim: Claim
  readonly token: number
  /** Epoch ms. */
  readonly sinceAt: number
  /** End of lease and lock delay, monotonic. */
  endsAt: number
}

interface Waiter {
  readonly claim: Claim
  keptUntil: number
  /** Its last request: granted when the lock is passed to it. */
  request: AcquireRequest
}

type Busy = Extract<AcquireReply, { status: 'busy' }>

/** Tells whether a waiter's process can be notified, and notifies it. */
export interface Bell {
  hears(value: string): boolean
  ring(value: string, token?: number): void
}

/** Creates a grant from a request, at the current time. */
export type Grant = (claim: Claim, request: AcquireRequest) => Held

/** The holders of one key and its queue: the scripts of the Redis store in TypeScript. Every method takes the current time. */
export class OneLock {
  readonly #key: string
  readonly #bell: Bell
  readonly #held = new Map<string, Held>()
  /** In order of arrival. */
  readonly #line = new Map<string, Waiter>()

  constructor(key: string, bell: Bell) {
    this.#key = key
    this.#bell = bell
  }

  /** True without a holder and without a live waiter. */
  isIdle(now: number): boolean {
    this.#removeEnded(now)
    if (this.#held.size > 0) return false
    for (const [value, waiter] of this.#line) if (this.#isAlive(value, waiter, now)) return false
    return true
  }

  isHeld(now: number): boolean {
    this.#removeEnded(now)
    return this.#held.size > 0
  }

  holder(value: string, now: number): Held | undefined {
    this.#removeEnded(now)
    return this.#held.get(value)
  }

  /**
   * The only rule of admission. `undefined`: the claim may hold the lock now, and has left the queue. Otherwise the obstacle,
   * after keeping its place in the queue for `keepPlaceMs` (0: none).
   */
  barred(claim: Claim, request: AcquireRequest, now: number): Busy | undefined {
    const holding = this.#holding(now)
    let first: string | undefined
    if (holding < claim.limit) {
      first = this.#firstInLine(holding, now, claim.value)
      if (first === undefined || first === claim.value) {
        this.#line.delete(claim.value)
        return undefined
      }
    }
    if (request.keepPlaceMs > 0) this.#keepPlace(claim, request, now)
    const position = [...this.#line.keys()].indexOf(claim.value)
    return { status: 'busy', position: position < 0 ? undefined : position, ...this.#obstacle(first, claim, now) }
  }

  /** Only after `barred` returned `undefined`. An admitted reader admits the next one. */
  hold(held: Held, now: number): void {
    this.#held.set(held.claim.value, held)
    if (held.claim.mode === 'shared') this.#firstInLine(this.#holding(now), now)
  }

  /** Removes the claim wherever it is, and wakes the waiters for which there is now capacity. */
  leave(value: string, from: { readonly holders: boolean; readonly line: boolean }, now: number): void {
    if (from.holders) this.#held.delete(value)
    if (from.line) this.#line.delete(value)
    const holding = this.#holding(now)
    if (holding !== Number.POSITIVE_INFINITY) this.#firstInLine(holding, now)
  }

  /** The holder releases the lock: an exclusive holder passes it to the first waiter, if that waiter wants it so. */
  release(held: Held, grant: Grant, now: number): void {
    if (held.claim.mode === 'shared') return this.leave(held.claim.value, { holders: true, line: false }, now)
    this.#held.delete(held.claim.value)
    this.#firstInLine(this.#holding(now), now, undefined, grant)
  }

  /** Ends all holders; wakes no waiter yet. */
  endAll(now: number): readonly Held[] {
    this.#removeEnded(now)
    const ended = [...this.#held.values()]
    this.#held.clear()
    return ended
  }

  wakeNext(now: number): void {
    this.#firstInLine(this.#holding(now), now)
  }

  info(now: number): LockInfo {
    this.#removeEnded(now)
    const waiting = [...this.#line.values()].filter(({ keptUntil }) => keptUntil > now)
    return {
      key: this.#key,
      holders: [...this.#held.values()].map((held) => describe(held, now)).toSorted((a, b) => a.token - b.token),
      waiters: waiting.map(({ claim }) => ({ owner: claim.owner, mode: claim.mode, permits: permitsOf(claim) })),
    }
  }

  /** Number of holders; an exclusive holder uses all capacity. */
  #holding(now: number): number {
    this.#removeEnded(now)
    for (const { claim } of this.#held.values()) if (claim.mode === 'exclusive') return Number.POSITIVE_INFINITY
    return this.#held.size
  }

  #removeEnded(now: number): void {
    for (const [value, held] of this.#held) if (held.endsAt <= now) this.#held.delete(value)
  }

  /** Skips and removes waiters whose heartbeat or listener is gone; wakes the first if there is capacity, unless it is `me`. */
  #firstInLine(holding: number, now: number, me?: string, grant?: Grant): string | undefined {
    for (const [value, waiter] of this.#line) {
      if (value === me) return value
      if (this.#isAlive(value, waiter, now)) {
        if (holding < waiter.claim.limit) this.#tell(value, waiter, grant)
        return value
      }
      this.#line.delete(value)
    }
    return undefined
  }

  #tell(value: string, { claim, request }: Waiter, grant: Grant | undefined): void {
    if (grant === undefined || request.handOver !== true || claim.mode !== 'exclusive') return this.#bell.ring(value)
    const held = grant(claim, request)
    this.#line.delete(value)
    this.#held.set(value, held)
    this.#bell.ring(value, held.token)
  }

  #isAlive(value: string, { keptUntil }: Waiter, now: number): boolean {
    return keptUntil > now && this.#bell.hears(value)
  }

  #keepPlace(claim: Claim, request: AcquireRequest, now: number): void {
    const keptUntil = now + request.keepPlaceMs
    const waiter = this.#line.get(claim.value)
    if (waiter === undefined) this.#line.set(claim.value, { claim, keptUntil, request })
    else Object.assign(waiter, { keptUntil, request })
  }

  /** The obstacle and its end: the first waiter, or enough holders that their end creates capacity. */
  #obstacle(first: string | undefined, claim: Claim, now: number): Pick<Busy, 'retryAfterMs' | 'owner'> {
    const waiter = this.#line.get(first ?? '')
    if (waiter !== undefined) return { retryAfterMs: waiter.keptUntil - now, owner: waiter.claim.owner }
    const held = [...this.#held.values()].toSorted((a, b) => a.endsAt - b.endsAt)
    const last = held[Math.max(0, held.length - claim.limit)]
    return { retryAfterMs: Math.max(0, (last?.endsAt ?? now) - now), owner: last?.claim.owner }
  }
}

function describe({ claim, token, sinceAt, endsAt }: Held, now: number): LockHolder {
  const freesInMs = endsAt - now
  return {
    owner: claim.owner,
    token,
    mode: claim.mode,
    permits: permitsOf(claim),
    sinceAt,
    expiresInMs: Math.max(0, freesInMs - claim.lockDelayMs),
    freesInMs,
  }
}

function permitsOf({ mode, limit }: Claim): number | undefined {
  return mode === 'exclusive' || limit === Number.POSITIVE_INFINITY ? undefined : limit
}
