const TICK_MS = 10

/** Recent pauses of this process' event loop, which explain late timers. */
export class EventLoop {
  readonly #stalls: Array<{ readonly at: number; readonly stallMs: number }> = []
  readonly #timer: NodeJS.Timeout
  #last = performance.now()

  readonly #onStall: ((stallMs: number) => void) | undefined

  /**
   * @param onStall called after each stall
   */
  constructor(onStall?: (stallMs: number) => void) {
    this.#onStall = onStall
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  /** Longest stall that ended within the last `withinMs`, or still lasts. */
  longestStallMs(withinMs: number): number {
    const now = performance.now()
    const recent = this.#stalls.filter(({ at }) => at > now - withinMs)
    return Math.max(0, now - this.#last - TICK_MS, ...recent.map(({ stallMs }) => stallMs))
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const now = performance.now()
    const stallMs = now - this.#last - TICK_MS
    this.#last = now
    if (stallMs > TICK_MS) {
      this.#stalls.push({ at: now, stallMs })
      this.#onStall?.(stallMs)
    }
    if (this.#stalls.length > 200) this.#stalls.splice(0, 100)
  }
}
