import { backoffDelayMs } from '../../../core/backoff.ts'
import { sqlUnavailable } from '../../../core/sql-unavailable.ts'
import { busyPauseMs, MOST_BUSY_TRIES } from '../../../core/transaction-retries.ts'
import { isClosed, writeFault } from '../../../core/write-fault.ts'
import { RECONNECT_BACKOFF, type ResolvedConsumer } from '../../bindings/resolve-options.ts'
import type { TransportDelivery } from '../../transport/transport.ts'

const DATABASE_AWAY = 'the database was away in the handler, which is no attempt'
const FOR_OPERATOR =
  'what the handler writes needs an operator (a right, a table or a setting), which is no attempt; it is tried again'
const CLOSED =
  'a part that the handler uses is closed, which is no attempt: the message goes back when the binder closes, or waits'
/**
 * A message whose handler breaks the connection each time must not be tried forever: after this many times, in 8 minutes or more,
 * a lost connection counts as an attempt. A failure to connect never does.
 */
const MOST_LOST = 100

const DATABASE_BUSY =
  'the transaction of the handler met another one (conflict, deadlock or a lock that was not free), which is no attempt'

/**
 * Handler failures that say nothing about the message: a system that the handler uses was unavailable or busy, or waits for an
 * operator.
 */
export class UncountedFailures {
  readonly #options: Pick<ResolvedConsumer, 'isInTransaction'>
  /** Number of calls for this delivery during which the database was unavailable. */
  readonly #away = new WeakMap<TransportDelivery, number>()
  /** Number of conflicts of its transaction with another one. */
  readonly #busy = new WeakMap<TransportDelivery, number>()

  constructor(options: Pick<ResolvedConsumer, 'isInTransaction'>) {
    this.#options = options
  }

  /**
   * True if the failure is not an attempt: the database was unavailable, waits for an operator, or was busy in the binding's own
   * transaction; or a part of this process is closed. A handler that conflicts with itself fails in the end: a conflict counts as
   * an attempt after 20 tries, which take some seconds. A session that the server ended because the handler paused for too long
   * is an attempt. No effect.
   */
  isOne(delivery: TransportDelivery, error: unknown): boolean {
    if (isClosed(error)) return true
    const fault = writeFault(error)
    if (fault === 'session-ended') return false
    if (fault === 'operator') return true
    if (isBusy(error)) return this.#options.isInTransaction && (this.#busy.get(delivery) ?? 0) < MOST_BUSY_TRIES
    const away = sqlUnavailable(error)
    return away === 'unreachable' || (away === 'lost' && (this.#away.get(delivery) ?? 0) < MOST_LOST)
  }

  /** Counts one more, and returns how long to wait after it. */
  pauseMs(delivery: TransportDelivery, error: Error): number {
    const counted = isBusy(error) ? this.#busy : this.#away
    const times = (counted.get(delivery) ?? 0) + 1
    counted.set(delivery, times)
    return counted === this.#busy ? busyPauseMs(times) : backoffDelayMs(RECONNECT_BACKOFF, times, Math.random())
  }
}

/** Tells whether the handler's transaction met another one, and not only a further delivery of its message (`throwFromOwnWait`). */
function isBusy(error: unknown): boolean {
  return writeFault(error) === 'busy' && sqlUnavailable(error) === undefined
}

/** Returns why a failure is not an attempt, for the log. */
export function outageReason(error: Error): string {
  if (isClosed(error)) return CLOSED
  const fault = writeFault(error)
  return fault === 'busy' ? DATABASE_BUSY : fault === 'operator' ? FOR_OPERATOR : DATABASE_AWAY
}
