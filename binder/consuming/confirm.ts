import { backoffDelayMs } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import { SendError } from '../errors.ts'
import type { EncodedMessage } from '../message.ts'
import { RECONNECT_BACKOFF } from '../options.ts'
import type { PublishOutcome } from '../transport.ts'

export interface ConfirmHost {
  readonly clock: Clock
  readonly logger: Logger
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
}

/**
 * Publishes until the broker has confirmed every message, however long it is away. The ids stay the same throughout.
 * @param signal asked for only when there is something to wait for
 * @throws SendError when the broker will never take one (too large, unroutable); the signal's reason when it aborts
 */
export async function publishUntilConfirmed(
  host: ConfirmHost,
  messages: readonly EncodedMessage[],
  signal: () => AbortSignal,
): Promise<void> {
  let left = messages
  for (let attempt = 1; left.length > 0; attempt++) {
    const outcomes = await host.publish(left)
    for (const [i, message] of left.entries()) {
      const outcome = outcomes[i]
      if (outcome !== undefined && !outcome.retryable) throw new SendError(message.destination, message.id, outcome)
    }
    left = left.filter((_, i) => outcomes[i] !== undefined)
    if (left.length === 0) return
    host.logger.warn({ err: outcomes.find(Boolean), left: left.length }, 'not confirmed by the broker, sending again')
    await host.clock.sleep(backoffDelayMs(RECONNECT_BACKOFF, attempt, Math.random()), signal())
  }
}

/**
 * As `publishUntilConfirmed`, for messages that do not fail together: what is sent again is sent in one go, in order.
 * Never rejects.
 * @returns for each why the broker does not have it, a SendError or the signal's reason; `undefined` when it has
 */
export async function publishEach(
  host: ConfirmHost,
  messages: readonly EncodedMessage[],
  signal: () => AbortSignal,
): Promise<readonly unknown[]> {
  const ends: unknown[] = messages.map(() => undefined)
  let left = [...messages.entries()]
  for (let attempt = 1; ; attempt++) {
    const outcomes = await host.publish(left.map(([, message]) => message))
    for (const [i, [at, { destination, id }]] of left.entries()) {
      const outcome = outcomes[i]
      if (outcome !== undefined && !outcome.retryable) ends[at] = new SendError(destination, id, outcome)
    }
    left = left.filter((_, i) => outcomes[i]?.retryable === true)
    if (left.length === 0) return ends
    host.logger.warn({ err: outcomes.find(Boolean), left: left.length }, 'not confirmed by the broker, sending again')
    try {
      await host.clock.sleep(backoffDelayMs(RECONNECT_BACKOFF, attempt, Math.random()), signal())
    } catch (reason) {
      for (const [at] of left) ends[at] = reason
      return ends
    }
  }
}
