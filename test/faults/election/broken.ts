/** A mistake built into an election, by wrapping the locks it is given. */
import type { Lease, Locks } from 'concordat/locks'
import { TTL_MS } from '../store/sizes.ts'

const LATE_MS = 0.6 * TTL_MS

/** `late-revoke`: the end of a lease is reported, and relied on, long after the server may have granted it to another. */
export function lateRevoke(locks: Locks): Locks {
  return override(locks, { acquire: async (key, options) => late(await locks.acquire(key, options)) })
}

function late(lease: Lease): Lease {
  const told = new AbortController()
  let endedAt: number | undefined
  lease.signal.addEventListener('abort', () => {
    endedAt = performance.now()
    setTimeout(() => told.abort(lease.signal.reason), LATE_MS)
  })
  const remainingMs = (): number => {
    const left = lease.remainingMs()
    if (left > 0) return left + LATE_MS
    return lease.state === 'lost' ? LATE_MS - (performance.now() - (endedAt ?? performance.now())) : left
  }
  const assertValid = (minRemainingMs = 0): void => {
    if (remainingMs() < minRemainingMs) lease.assertValid(minRemainingMs)
  }
  return override(lease, {
    signal: told.signal,
    remainingMs,
    validUntil: () => Date.now() + remainingMs(),
    assertValid,
  })
}

/** Returns the object with some members replaced. Methods are bound: they use private fields. */
function override<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const source = Object.hasOwn(members, name) ? members : target
      const value: unknown = Reflect.get(source, name, source)
      return typeof value === 'function' ? (value.bind(source) as unknown) : value
    },
  })
}
