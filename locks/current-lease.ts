/** The leases of the running code. Kept across `await`. */
import { endingContext, handOut } from '../core/async-contexts.ts'
import type { Lease } from './lock.ts'

const storage = endingContext<readonly Lease[]>()

/**
 * Returns the lease of the innermost `using` around the running code, also across `await`; in the handlers and jobs of an
 * election, the lease of the role. `undefined` outside. Of several taken together by `usingAll` it is the last: pass the `key`
 * that you mean. A lease that has ended is still returned: it is the one under which the code runs, its `assertValid` throws, and
 * fences refuse its token.
 * @param key returns the innermost lease of this key
 */
export function currentLease(key?: string): Lease | undefined {
  return storage.getStore()?.findLast((lease) => key === undefined || lease.key === key)
}

/** Runs `work` with `leases` innermost. Its result is passed on under them. */
export function withLeases<T>(leases: readonly Lease[], work: () => T | Promise<T>): Promise<T> {
  const around = storage.getStore()
  return storage.run(around === undefined ? leases : [...around, ...leases], async () => handOut(await work()))
}
