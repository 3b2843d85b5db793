import { type Clock, MINUTE } from '../../core/clock.ts'
import { within as withinDeadline } from '../transport/kit/deadline.ts'

/**
 * A connection without a request for so long is replaced before the next one. Load balancers and firewalls drop idle connections
 * without a word (Azure after 4 minutes, an AWS network load balancer after 350 s), and a request on one is never answered.
 */
export const IDLE_MS: number = 3 * MINUTE

/** Not answered in time. What was waited for goes on. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
  readonly type = 'REQUEST_TIMED_OUT'
}

/** Settles as `work` does, or rejects with `DeadlineExceeded` after `durationMs`; a later rejection of `work` is dropped. */
export function within<T>(clock: Clock, durationMs: number, what: string, work: Promise<T>): Promise<T> {
  const late = (): Error => new DeadlineExceeded(`${what} did not finish within ${Math.round(durationMs)} ms`)
  return withinDeadline(clock, durationMs, work, late)
}
