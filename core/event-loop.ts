/**
 * Measures how long the event loop of this process was blocked: by code that computes, or because the process gets no CPU or is
 * frozen.
 */
import { clearInterval, setInterval } from 'node:timers'
import { MINUTE } from './clock.ts'

const EVERY_MS = 500
/** Shorter delays are normal in a busy process. */
const LEAST_MS = 250
const WINDOW_MS = 1 * MINUTE

interface Block {
  readonly at: number
  readonly ms: number
}

/**
 * Measures how late a timer fires. It uses the timers of the process, whatever clock its parts use: a fake clock says nothing
 * about the event loop.
 */
class EventLoopWatch {
  #watchers = 0
  #timer: ReturnType<typeof setInterval> | undefined
  #lastAt = 0
  #blocks: Block[] = []

  start(): () => void {
    if (this.#watchers++ === 0) {
      this.#lastAt = performance.now()
      this.#timer = setInterval(() => this.#tick(), EVERY_MS).unref()
    }
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (--this.#watchers > 0) return
      clearInterval(this.#timer)
      this.#blocks = []
    }
  }

  blockedMs(now: number): number {
    this.#forget(now)
    return this.#blocks.reduce((sum, { ms }) => sum + ms, 0)
  }

  #tick(): void {
    const now = performance.now()
    const lateMs = Math.round(now - this.#lastAt - EVERY_MS)
    this.#lastAt = now
    if (lateMs >= LEAST_MS) this.#blocks.push({ at: now, ms: Math.min(lateMs, WINDOW_MS) })
    this.#forget(now)
  }

  #forget(now: number): void {
    while (now - (this.#blocks[0]?.at ?? now) > WINDOW_MS) this.#blocks.shift()
  }
}

const watch = new EventLoopWatch()

/** Watches until the returned function is called. All watchers share one timer. */
export function watchEventLoop(): () => void {
  return watch.start()
}

/** How long the event loop was blocked within the last minute, counting blocks of at least 250 ms; 0 without a watcher. */
export function eventLoopBlockedMs(): number {
  return Math.min(MINUTE, watch.blockedMs(performance.now()))
}
