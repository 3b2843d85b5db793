import type { Clock } from '../../../core/clock.ts'
import { within as withinDeadline } from '../../transport/kit/deadline.ts'

/** Not answered in time. What was waited for goes on: kafkajs has no way to cancel. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
  readonly type = 'REQUEST_TIMED_OUT'
}

/** Settles as `work` does, or rejects with `DeadlineExceeded` after `durationMs`; a later rejection of `work` is dropped. */
export function within<T>(clock: Clock, durationMs: number, what: string, work: Promise<T>): Promise<T> {
  const late = (): Error => new DeadlineExceeded(`${what} did not finish within ${Math.round(durationMs)} ms`)
  return withinDeadline(clock, durationMs, work, late)
}

/**
 * Connects, or gives up after `durationMs`. kafkajs goes on trying all the same; a connection that it makes late is
 * closed at once, so that nothing keeps the process alive.
 */
export async function connectWithin(
  clock: Clock,
  durationMs: number,
  client: { connect(): Promise<void>; disconnect(): Promise<void> },
): Promise<void> {
  const connecting = client.connect()
  try {
    await within(clock, durationMs, 'connecting', connecting)
  } catch (error) {
    connecting
      .catch(() => {})
      .then(() => client.disconnect())
      .catch(() => {})
    // Nothing was asked yet, so nothing is unknown: the broker is away.
    throw error instanceof DeadlineExceeded ? new Error(`no connection within ${durationMs} ms`) : error
  }
}
