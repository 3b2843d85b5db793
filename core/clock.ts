/**
 * Time as a dependency. Code that waits or measures takes a `Clock`, so that tests control the time.
 *
 * `now()` is wall time and may jump; `monotonic()` never goes back but stops while the machine is suspended. Leases compare both
 * (see `locks/`); durations use `monotonic()`; times that leave the process use `now()`.
 */
export interface Clock {
  /** Wall time in epoch milliseconds. */
  now(): number
  /** Monotonic milliseconds since an arbitrary origin; sub-millisecond resolution. */
  monotonic(): number
  /**
   * Resolves after `durationMs`, or rejects with the reason of the signal as soon as `signal` aborts. Accepts any duration,
   * including `Infinity`: Node's limit of 2^31 - 1 ms, beyond which timers fire at once, does not apply.
   */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>
  /**
   * Calls `callback` once after `durationMs`, any duration; the returned function cancels it.
   * @param keepsAlive whether the timer keeps the process alive
   */
  setTimer(durationMs: number, callback: () => void, keepsAlive?: boolean): () => void
}

/** A second in milliseconds: write `5 * SECOND`. */
export const SECOND = 1_000
/** 60 seconds in milliseconds. */
export const MINUTE = 60 * SECOND
/** 60 minutes in milliseconds. */
export const HOUR = 60 * MINUTE
/** 24 hours in milliseconds. */
export const DAY = 24 * HOUR

const MAX_TIMER_MS = 2 ** 31 - 1
/** Node runs timers before it reads sockets; a timer that fires this late waits until sockets were read once. */
const STANDSTILL_MS = 20

/**
 * The machine's clocks. After a process was suspended or busy with one long call, it runs late timers before it reads sockets,
 * although the responses that these timers limit may have arrived.
 */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (durationMs: number, signal?: AbortSignal) => sleep(durationMs, signal),
  setTimer: (durationMs: number, callback: () => void, keepsAlive = false) => {
    return startTimer(durationMs, callback, !keepsAlive)
  },
})

function sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(toReason(signal))
      return
    }
    const onAbort = (): void => {
      cancel()
      reject(toReason(signal))
    }
    const onTime = (): void => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }
    const cancel = startTimer(durationMs, onTime, false)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

function toReason(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal?.reason })
}

/** @returns a function that cancels it */
function startTimer(durationMs: number, callback: () => void, letsExit: boolean): () => void {
  const thisMs = Math.min(Math.max(durationMs, 0), MAX_TIMER_MS)
  const restMs = durationMs - thisMs
  const lateAt = performance.now() + thisMs + STANDSTILL_MS
  let cancelRest = (): void => {}
  const onTime = (): void => {
    if (restMs > 0) cancelRest = startTimer(restMs, callback, letsExit)
    else if (performance.now() < lateAt || isOnVirtualTime()) callback()
    else cancelRest = afterOneRead(callback)
  }
  const timer = setTimeout(onTime, thisMs)
  if (letsExit) timer.unref()
  return () => {
    clearTimeout(timer)
    cancelRest()
  }
}

/** @returns a function that cancels it */
function afterOneRead(callback: () => void): () => void {
  const turn = setImmediate(callback)
  return () => clearImmediate(turn)
}

let tellsVirtual = (): boolean => false

/** True if the running code uses the virtual time of a simulator, where nothing waits for sockets. */
export function isOnVirtualTime(): boolean {
  return tellsVirtual()
}

/**
 * Sets the function that tells whether the running code uses virtual time. Simulators call it, because their worlds share the
 * clock of the process.
 * @returns a function that restores the previous one
 */
export function virtualTimeIn(isVirtual: () => boolean): () => void {
  const before = tellsVirtual
  tellsVirtual = isVirtual
  return () => {
    tellsVirtual = before
  }
}
