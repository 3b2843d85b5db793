import type { Clock } from '../../../core/clock.ts'
import { DeadlineExceeded, within } from '../deadline.ts'

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
