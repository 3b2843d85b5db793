import { DAY } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'

/**
 * The longest delay of a message, on every transport: 30 days. What is due later belongs into a database, where it can be
 * looked at and cancelled.
 */
export const MAX_DELAY_MS: number = 30 * DAY

/**
 * When a message with this delay is due, epoch ms; `undefined` when it is not delayed.
 * @throws TypeError / RangeError naming the option
 */
export function notBeforeOf(channel: string, delayMs: number | undefined, now: number): number | undefined {
  if (delayMs === undefined) return undefined
  requireInteger(`send("${channel}").delayMs`, delayMs, 0, MAX_DELAY_MS)
  return delayMs === 0 ? undefined : now + delayMs
}
