import type { Clock } from '../../../core/clock.ts'
import { DeadlineExceeded, within } from '../deadline.ts'
import type { KafkaOptions } from './options.ts'
import { seedFailed } from './patches/next-seed.ts'

/**
 * Connects, or gives up after `connectTimeoutMs`; the next connection then begins with another address. kafkajs continues to try;
 * a connection that it makes late is closed at once, so that it does not keep the process alive.
 */
export async function connectWithin(
  clock: Clock,
  { kafka, connectTimeoutMs: durationMs }: Pick<KafkaOptions, 'kafka' | 'connectTimeoutMs'>,
  client: { connect(): Promise<void>; disconnect(): Promise<void> },
): Promise<void> {
  const connecting = client.connect()
  try {
    await within(clock, durationMs, 'connecting', connecting)
  } catch (error) {
    seedFailed(kafka)
    connecting
      .catch(() => {})
      .then(() => client.disconnect())
      .catch(() => {})
    // No request was sent, so no outcome is unknown: the broker is unavailable.
    throw error instanceof DeadlineExceeded ? new Error(`no connection within ${durationMs} ms`) : error
  }
}
