/** Work on one saga takes a lease at most: a schema or a function of its definition that never settles holds up its own saga only. */
import type { Clock } from '../../core/clock.ts'
import { within } from '../../core/time-limit.ts'

/** The outcome of `work`. After a lease it rejects, so that what was asked is tried again; `work` goes on alone. */
export async function appliedWithinLease<T>(
  { clock, leaseMs }: { readonly clock: Clock; readonly leaseMs: number },
  what: string,
  work: Promise<T>,
): Promise<T> {
  const hangs = Symbol()
  const applied = await within<T, typeof hangs>(clock, leaseMs, work, hangs)
  if (applied !== hangs) return applied as T
  throw new Error(
    `${what} was not applied within ${leaseMs} ms: the database does not answer, or a schema or a function of the definition hangs`,
  )
}
