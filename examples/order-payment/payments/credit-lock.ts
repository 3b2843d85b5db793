/**
 * Limits credit checks to one per customer at a time, over all instances of payments.
 *
 * The bank, an external system, rejects a second request of a customer while one is in flight. A row lock would occupy
 * a database connection for as long as the bank takes to answer. The balance does not need this lock: the conditional
 * UPDATE in the database protects it.
 *
 * The middleware acquires the lock before the participant's transaction begins and releases it after the transaction
 * has ended, so the next holder sees the commit. The fence stops a paused holder that lost the lock: the handler passes
 * the token to `fence.check`.
 */
import type { Middleware } from 'concordat/binder'
import { currentLease, type Lease } from 'concordat/locks'
import type { Charge } from '../contracts.ts'
import type { ServiceEnvironment } from '../environment.ts'

/** Longer than a dead holder keeps the lock. After this time the binder retries the command. */
const WAIT_MS = 60_000

/** Lease that protects the calling code. @throws Error outside of `creditLock` */
export function creditLease(): Lease {
  const lease = currentLease()
  if (lease === undefined)
    throw new Error('the credit check runs without its lock: give the binding creditLock as middleware')
  return lease
}

/** Middleware that runs each charge under its customer's lock. */
export function creditLock({ locks, leaseMs }: Pick<ServiceEnvironment, 'locks' | 'leaseMs'>): Middleware {
  return (next) => (payload, context) => {
    const options = { ttlMs: leaseMs, waitMs: WAIT_MS, signal: context.signal }
    return locks.using(creditKey((payload as Charge).customer), options, () => next(payload, context))
  }
}

export function creditKey(customer: string): string {
  return `credit:${customer}`
}
