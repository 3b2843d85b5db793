import type { Clock } from 'concordat/core'

/** Clock that moves only with `advance`. */
export class FakeClock implements Clock {
  time = 0
  readonly timers: Array<{ at: number; callback: () => void }> = []
  now = (): number => this.time
  monotonic = (): number => this.time
  sleep = (): Promise<void> => Promise.resolve()
  setTimer(durationMs: number, callback: () => void): () => void {
    const timer = { at: this.time + durationMs, callback }
    this.timers.push(timer)
    return () => void this.timers.splice(this.timers.indexOf(timer) >>> 0, 1)
  }
  advance(durationMs: number): void {
    this.time += durationMs
    for (const timer of this.timers.filter(({ at }) => at <= this.time)) {
      this.timers.splice(this.timers.indexOf(timer), 1)
      timer.callback()
    }
  }
}
