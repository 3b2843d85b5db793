/** Work on one saga takes a lease at most: a schema or a function of its definition that never settles holds up its own saga only. */
import { finishesWithin, within } from '../../core/time-limit.ts'
import type { SagaKey } from '../store/rows.ts'
import type { ResolvedOptions } from './options.ts'

/** The outcome of `work`. After a lease it rejects, so that what was asked is tried again; `work` goes on alone. */
export async function appliedWithinLease<T>(
  { clock, leaseMs }: Pick<ResolvedOptions, 'clock' | 'leaseMs'>,
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

/** Waits for `work`, at most a lease: then the log says which saga does not settle, and `work` goes on alone. */
export async function settles(
  { clock, leaseMs, logger }: Pick<ResolvedOptions, 'clock' | 'leaseMs' | 'logger'>,
  { name, id }: SagaKey,
  work: Promise<unknown>,
): Promise<void> {
  if (await finishesWithin(clock, leaseMs, work)) return
  logger.error(
    { saga: name, id, leaseMs },
    'saga does not settle: the database does not answer, or a schema or a function of its definition hangs',
  )
}
