import { show } from '../core/errors.ts'
import type { Lease, LeaseSet, ReleaseOutcome } from './lock.ts'
import { requireKey } from './options.ts'

/** Outcomes, worst last. */
const OUTCOMES: readonly ReleaseOutcome[] = ['released', 'unconfirmed', 'lost']

/** Leases used as one: valid while all are. Each is renewed and ends on its own. */
export class MultiKeyLease implements LeaseSet {
  readonly leases: readonly Lease[]
  #signal: AbortSignal | undefined
  #releasing: Promise<ReleaseOutcome> | undefined

  /** @param leases in the order in which they were acquired, at least one */
  constructor(leases: readonly Lease[]) {
    this.leases = leases
  }

  get(key: string): Lease {
    const lease = this.leases.find((each) => each.key === key)
    if (lease !== undefined) return lease
    throw new TypeError(`the set of leases has no "${key}": it has ${this.leases.map((each) => each.key).join(', ')}`)
  }

  get signal(): AbortSignal {
    this.#signal ??= AbortSignal.any(this.leases.map((lease) => lease.signal))
    return this.#signal
  }

  remainingMs(): number {
    return Math.min(...this.leases.map((lease) => lease.remainingMs()))
  }

  assertValid(minRemainingMs = 0): void {
    for (const lease of this.leases) lease.assertValid(minRemainingMs)
  }

  release(): Promise<ReleaseOutcome> {
    this.#releasing ??= releaseInReverse(this.leases)
    return this.#releasing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}

/** Releases the last first, so that the next holder of the first key finds the others free. */
export async function releaseInReverse(leases: readonly Lease[]): Promise<ReleaseOutcome> {
  let worst: ReleaseOutcome = 'released'
  for (const lease of leases.toReversed()) {
    const outcome = await lease.release()
    if (OUTCOMES.indexOf(outcome) > OUTCOMES.indexOf(worst)) worst = outcome
  }
  return worst
}

/**
 * The canonical order in which several keys are acquired: that of their UTF-8 bytes, the same in every language and locale.
 * @throws TypeError for no keys, or a repeated key
 */
export function canonicalOrder(keys: readonly string[]): readonly string[] {
  if (!Array.isArray(keys) || keys.length === 0) {
    throw new TypeError(`acquireAll: expected an array of at least one key, got ${show(keys)}`)
  }
  for (const key of keys) requireKey(key)
  const ordered = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const twice = ordered.find((key, index) => key === ordered[index + 1])
  if (twice !== undefined) {
    throw new TypeError(`acquireAll: expected each key once, got "${twice}" twice: it would wait for itself`)
  }
  return ordered
}
