/** Which leases the running code works under. Survives any `await`. */
import { endingContext, handOut } from '../core/async-contexts.ts'
import type { Lease } from './lock.ts'

const storage = endingContext<readonly Lease[]>()

/**
 * The lease of the innermost `using` around the running code, also across `await`; in the handlers and jobs of an
 * election, the lease of the role. `undefined` outside. Of several taken together by `usingAll` it is the last: name the
 * `key` you mean. A lease that has ended meanwhile is still returned: it is the one under which the code runs, its
 * `assertValid` throws, and its token is what a fence refuses.
 * @param key the innermost one of this key
 */
export function currentLease(key?: string): Lease | undefined {
  return storage.getStore()?.findLast((lease) => key === undefined || lease.key === key)
}

/** Runs `work` with `leases` innermost. What it resolves with is handed out under them. */
export function withLeases<T>(leases: readonly Lease[], work: () => T | Promise<T>): Promise<T> {
  const around = storage.getStore()
  return storage.run(around === undefined ? leases : [...around, ...leases], async () => handOut(await work()))
}
