import type { Told } from '../run/conductor.ts'
import { duration } from './markdown.ts'

/** A line that is written over on a terminal, and now and then a new one elsewhere. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream
  readonly #everyMs: number
  #shownAt = Number.NEGATIVE_INFINITY
  #before: Told | undefined
  #isOpen = false

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#everyMs = out.isTTY ? 2_000 : 15_000
  }

  show(told: Told): void {
    const now = performance.now()
    if (now - this.#shownAt < this.#everyMs) return
    const text = progressText(told, this.#before)
    this.#shownAt = now
    this.#before = told
    this.#isOpen = this.#out.isTTY
    this.#out.write(this.#out.isTTY ? `\r\u001b[K${text}` : `${text}\n`)
  }

  end(): void {
    if (this.#isOpen) this.#out.write('\n')
    this.#isOpen = false
  }
}

/** @param before what was shown last: the rate is that since then; the end is told from the whole run */
export function progressText(told: Told, before: Told | undefined): string {
  const { orders, faults, elapsedMs, done, played, stalledMs, fault } = told
  const since = before ?? { elapsedMs: 0, done: 0 }
  const rate = ((done - since.done) / Math.max(1, elapsedMs - since.elapsedMs)) * 1_000
  const at = fault === undefined ? '' : ` (${fault})`
  const stalled = stalledMs < 3_000 ? '' : `, nothing for ${(stalledMs / 1_000).toFixed(0)} s`
  const left = done === 0 ? '' : `, about ${duration((elapsedMs / done) * (orders - done))} left`
  return `${duration(elapsedMs)}: ${done} of ${orders} orders, ${rate.toFixed(0)}/s, ${played} of ${faults} faults${at}${stalled}${left}`
}
