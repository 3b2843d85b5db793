import { CallHealth } from '../core/call-health.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import { fieldOf } from '../core/thrown-values.ts'
import type { LockInfo } from './lock.ts'
import type { AcquireReply, AcquireRequest, Claim, ClaimTerms, LockOperator, LockStore, NotHeld } from './store.ts'

/**
 * Key of the lock that a probe takes and gives back. Instances that probe at the same time get `busy`, which is an answer, too.
 */
const PROBE_KEY = 'concordat/probe'
const PROBE_TERMS: ClaimTerms = { owner: 'health probe', mode: 'exclusive', limit: 1, lockDelayMs: 0 }
const PROBE_REQUEST: AcquireRequest = { ttlMs: 1 * SECOND, tokenFloor: 0, keepPlaceMs: 0 }

/**
 * A store whose `health` reflects the last call of each kind. An idle store, or one whose last call failed, is probed with a
 * separate lock, which needs the same rights, capacity and replicas as any other.
 */
export class HealthProbingStore implements LockStore {
  readonly name: string
  readonly features: LockStore['features']
  readonly operator: LockStore['operator']
  readonly #store: LockStore
  readonly #calls: CallHealth

  constructor(store: LockStore, clock: Clock) {
    this.#store = store
    this.name = store.name
    this.features = store.features
    this.#calls = new CallHealth({
      clock,
      probe: () => this.#probe(),
      isFailure: isOfServer,
    })
    this.operator = 'missing' in store.operator ? store.operator : watchedOperator(store.operator, this.#calls)
  }

  newValue(terms: ClaimTerms): string {
    return this.#store.newValue(terms)
  }

  acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply> {
    return this.#calls.track(this.#store.acquire(claim, request), 'acquire')
  }

  extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld> {
    return this.#calls.track(this.#store.extend(claim, ttlMs), 'extend')
  }

  release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld> {
    return this.#calls.track(this.#store.release(claim, forgetAfterMs), 'release')
  }

  abandon(claim: Claim, forgetAfterMs: number): Promise<void> {
    return this.#calls.track(this.#store.abandon(claim, forgetAfterMs), 'abandon')
  }

  listen(value: string, onTurn: (token?: number) => void): Promise<() => void> {
    return this.#store.listen(value, onTurn)
  }

  inspect(key: string): Promise<LockInfo | undefined> {
    return this.#calls.track(this.#store.inspect(key), 'inspect')
  }

  onDoubt(listener: (value: string | undefined) => void): void {
    this.#store.onDoubt(listener)
  }

  /** A connection that is known to be lost is `down` before the next call. */
  health(): ReturnType<LockStore['health']> {
    const store = this.#store.health()
    const calls = this.#calls.state()
    return store.status === 'down' || calls.status !== 'down' ? store : calls
  }

  close(): Promise<void> {
    this.#calls.close()
    return this.#store.close()
  }

  async #probe(): Promise<void> {
    const claim = { ...PROBE_TERMS, key: PROBE_KEY, value: this.#store.newValue(PROBE_TERMS) }
    const { status } = await this.#store.acquire(claim, PROBE_REQUEST)
    if (status === 'granted') await this.#store.release(claim, 0)
  }
}

/** A call refused before it was sent, such as one with too long a key, says nothing about the server. */
function isOfServer(error: unknown): boolean {
  const isRefused = hasCode(error, 'locks.store_refused') && !(fieldOf(error, 'cause') instanceof TypeError)
  return isRefused || hasCode(error, 'locks.store_unavailable')
}

function watchedOperator(operator: LockOperator, calls: CallHealth): LockOperator {
  return {
    list: (options) => calls.track(operator.list(options), 'list'),
    forceRelease: (...call) => calls.track(operator.forceRelease(...call), 'forceRelease'),
    audit: (key) => calls.track(operator.audit(key), 'audit'),
  }
}
