/**
 * One credit check per customer at a time, over all instances of payments.
 *
 * What the lock is for: the bank, an outside system, turns down a second request of a customer while one is under way,
 * and a row lock cannot be held towards somebody else's system for as long as that takes without keeping a database
 * connection for each. What it is not for: the balance. That is guarded by the conditional UPDATE in the database, and
 * would be right without this lock.
 *
 * The lock is taken before the participant's transaction begins and given back after it has ended, so the next holder
 * sees what this one committed. A holder that was paused and lost it is stopped by the fence: `charge` gives the token
 * to the ledger.
 */
import type { Middleware } from 'concordat/binder'
import { currentLease, type Lease } from 'concordat/locks'
import type { Charge } from '../contracts.ts'
import type { ServiceEnvironment } from '../environment.ts'

/** Longer than a dead holder keeps it; after that the command is simply tried again. */
const WAIT_MS = 60_000

/** The lease under which the calling code runs. @throws Error outside of `creditLock` */
export function creditLease(): Lease {
  const lease = currentLease()
  if (lease === undefined)
    throw new Error('the credit check runs without its lock: give the binding creditLock as middleware')
  return lease
}

/** Each call of a handler of charges under its customer's lock. */
export function creditLock({ locks, leaseMs }: Pick<ServiceEnvironment, 'locks' | 'leaseMs'>): Middleware {
  return (next) => (payload, context) => {
    const options = { ttlMs: leaseMs, waitMs: WAIT_MS, signal: context.signal }
    return locks.using(creditKey((payload as Charge).customer), options, () => next(payload, context))
  }
}

export function creditKey(customer: string): string {
  return `credit:${customer}`
}
