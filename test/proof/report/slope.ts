/** Growth rate of a process: one slope over all its lives, each with a level of its own. */

/** Stretch of one process by its pid: a restart begins another one. */
interface Stretch {
  readonly pid: number
  readonly sinceMs: number
  count: number
  x: number
  y: number
  xx: number
  xy: number
  lastMs: number
}

export interface Slope {
  /** Growth; `undefined`: no stretch is long enough for it. */
  readonly perMinute: number | undefined
  readonly stretches: number
  /** Length of these stretches without their warm-up. */
  readonly minutes: number
  readonly least: number
  readonly most: number
}

/** Warm-up: initial loading and compiling is not growth. */
export const WARM_UP_MS = 60_000
const MINUTE = 60_000
/** Fewest points: with fewer the slope is mostly chance. */
const LEAST_POINTS = 6
/** Over less than this, all stretches together, it is the end of the warm-up. */
const LEAST_MS = 5 * MINUTE

/** Least squares, sample by sample: nothing is kept but sums. */
export class SlopeOf {
  #current: Stretch | undefined
  #xx = 0
  #xy = 0
  #ms = 0
  #stretches = 0
  #least = Number.POSITIVE_INFINITY
  #most = 0

  add(atMs: number, pid: number, value: number): void {
    this.#least = Math.min(this.#least, value)
    this.#most = Math.max(this.#most, value)
    if (this.#current?.pid !== pid) {
      this.#fold()
      this.#current = { pid, sinceMs: atMs, count: 0, x: 0, y: 0, xx: 0, xy: 0, lastMs: atMs }
    }
    const stretch = this.#current
    if (atMs - stretch.sinceMs < WARM_UP_MS) return
    const x = (atMs - stretch.sinceMs) / MINUTE
    stretch.count += 1
    stretch.x += x
    stretch.y += value
    stretch.xx += x * x
    stretch.xy += x * value
    stretch.lastMs = atMs
  }

  result(): Slope {
    this.#fold()
    const perMinute = this.#ms < LEAST_MS ? undefined : this.#xy / this.#xx
    return { perMinute, stretches: this.#stretches, minutes: this.#ms / MINUTE, least: this.#least, most: this.#most }
  }

  #fold(): void {
    const stretch = this.#current
    this.#current = undefined
    if (stretch === undefined || stretch.count < LEAST_POINTS) return
    const { count, x, y, xx, xy } = stretch
    this.#xx += xx - (x * x) / count
    this.#xy += xy - (x * y) / count
    this.#ms += stretch.lastMs - stretch.sinceMs - WARM_UP_MS
    this.#stretches += 1
  }
}
