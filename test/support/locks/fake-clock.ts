import type { Clock } from 'concordat/core'

/**
 * Clock that moves only with its methods. `advance` moves both clocks; `suspend` only the wall clock, like a laptop
 * lid.
 */
export class FakeClock implements Clock {
  #monotonicMs = 1_000
  #wallMs = Date.UTC(2026, 10, 20)
  readonly #timers = new Map<number, { readonly at: number; readonly callback: () => void }>()
  #nextId = 0

  now(): number {
    return this.#wallMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  setTimer(durationMs: number, callback: () => void): () => void {
    const id = this.#nextId++
    this.#timers.set(id, { at: this.#monotonicMs + Math.max(0, durationMs), callback })
    return () => this.#timers.delete(id)
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error)
        return
      }
      const cancel = this.setTimer(durationMs, resolve)
      signal?.addEventListener('abort', () => {
        cancel()
        reject(signal.reason as Error)
      })
    })
  }

  /** Fires what falls due on the way, in order, and lets everything that follows from it run. */
  async advance(durationMs: number): Promise<void> {
    const end = this.#monotonicMs + durationMs
    await drain()
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0]
      if (due === undefined) break
      const [id, timer] = due
      this.#timers.delete(id)
      this.#move(Math.max(0, timer.at - this.#monotonicMs))
      timer.callback()
      await drain()
    }
    this.#move(Math.max(0, end - this.#monotonicMs))
    await drain()
  }

  /** Time passes but nothing runs: an event-loop stall, SIGSTOP, a paused machine that resumes. */
  stall(durationMs: number): void {
    this.#move(durationMs)
  }

  /** Moves only the wall clock: the machine slept, or its time was set. */
  suspend(durationMs: number): void {
    this.#wallMs += durationMs
  }

  get pendingTimers(): number {
    return this.#timers.size
  }

  #move(durationMs: number): void {
    this.#monotonicMs += durationMs
    this.#wallMs += durationMs
  }
}

/** Waits until long chains of promises have settled: a few turns of the event loop, for those that yield to it. */
export async function drain(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
}
