import { DAY } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'

/**
 * Longest delay of a message, on every transport: 30 days. Messages due later belong in a database, where they can be viewed and
 * cancelled.
 */
export const MAX_DELAY_MS: number = 30 * DAY

/**
 * Returns the time from which a message is delivered, epoch ms; `undefined` without a delay.
 * @throws TypeError / RangeError naming the option
 */
export function notBeforeOf(channel: string, delayMs: number | undefined, now: number): number | undefined {
  if (delayMs === undefined) return undefined
  requireInteger(`send("${channel}").delayMs`, delayMs, 0, MAX_DELAY_MS)
  return delayMs === 0 ? undefined : now + delayMs
}
