import { type Clock, MINUTE } from '../../core/clock.ts'
import { within as withinDeadline } from '../transport/kit/deadline.ts'

/**
 * A connection idle for this long is replaced before the next request. Load balancers and firewalls drop idle connections
 * silently (Azure after 4 minutes, an AWS network load balancer after 350 s), and a request on a dropped one is never answered.
 */
export const IDLE_MS: number = 3 * MINUTE

/** Error for work that was not done in time. The work continues. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
  readonly type = 'REQUEST_TIMED_OUT'
}

/** Settles like `work`, or rejects with `DeadlineExceeded` after `durationMs`; a later rejection of `work` is ignored. */
export function within<T>(clock: Clock, durationMs: number, what: string, work: Promise<T>): Promise<T> {
  const late = (): Error => new DeadlineExceeded(`${what} did not finish within ${Math.round(durationMs)} ms`)
  return withinDeadline(clock, durationMs, work, late)
}
