/** Limits work on one saga to a lease, so that a schema or function that never settles blocks its own saga only. */
import { finishesWithin, within } from '../../core/time-limit.ts'
import type { SagaKey } from '../store/store-types.ts'
import type { ResolvedOptions } from './options.ts'

/** Returns the result of `work`. Rejects after a lease, so that the caller retries; `work` continues in the background. */
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

/** Waits for `work`, at most a lease. Then it logs which saga does not settle; `work` continues in the background. */
export async function waitAtMostOneLease(
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
