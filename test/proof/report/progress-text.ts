import type { Told } from '../run/conductor.ts'
import { duration } from './markdown.ts'

/** Describes the progress of a run, with the rate since the last call. */
export function progressTeller(): (told: Told) => string {
  let before: Told | undefined
  return (told) => {
    const text = progressText(told, before)
    before = told
    return text
  }
}

/**
 * @param before the progress shown last: the rate is that since then; the end shows the rate of the whole run
 */
export function progressText(told: Told, before: Told | undefined): string {
  const { orders, faults, elapsedMs, done, played, stalledMs, fault } = told
  const since = before ?? { elapsedMs: 0, done: 0 }
  const rate = ((done - since.done) / Math.max(1, elapsedMs - since.elapsedMs)) * 1_000
  const at = fault === undefined ? '' : ` (${fault})`
  const stalled = stalledMs < 3_000 ? '' : `, nothing for ${(stalledMs / 1_000).toFixed(0)} s`
  const left = done === 0 ? '' : `, about ${duration((elapsedMs / done) * (orders - done))} left`
  return `${duration(elapsedMs)}: ${done} of ${orders} orders, ${rate.toFixed(0)}/s, ${played} of ${faults} faults${at}${stalled}${left}`
}
