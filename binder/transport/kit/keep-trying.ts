import { type Backoff, backoffDelayMs } from '../../../core/backoff.ts'
import type { Clock } from '../../../core/clock.ts'

export interface Trying {
  readonly clock: Clock
  readonly backoff: Backoff
  /** Aborts the attempts. */
  readonly signal: AbortSignal
  /** Number of previous failed attempts: if there are any, it starts with a pause. @default 0 */
  readonly failed?: number | undefined
}

/**
 * Calls `work` until it resolves to true or `signal` aborts, with growing pauses. False is a success that has ended, such as a
 * connection that was lost again: the pauses start again at the shortest. Never rejects.
 */
export async function keepTrying(
  { clock, backoff, signal, failed = 0 }: Trying,
  work: () => Promise<boolean>,
  onFailure: (error: unknown) => void = () => {},
): Promise<void> {
  for (let attempt = failed; !signal.aborted; ) {
    if (attempt > 0) await clock.sleep(backoffDelayMs(backoff, attempt, Math.random()), signal).catch(() => {})
    if (signal.aborted) return
    try {
      if (await work()) return
      attempt = 1
    } catch (error) {
      attempt++
      onFailure(error)
    }
  }
}
