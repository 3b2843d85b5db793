/** Timers as code of a world sees them: in its time, and ended with its instance. */
import timers from 'node:timers'
import timersPromises from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Surroundings, surroundingsHere } from '../current-process.ts'
import { type Restore, replace } from './replace.ts'

type Callback = (...args: unknown[]) => void
interface SleepOptions {
  readonly signal?: AbortSignal
}

class Timeout {
  readonly #delayMs: number
  readonly #callback: () => void
  readonly #again: boolean
  readonly #in: Surroundings
  #cancel: () => void = () => {}

  constructor(surroundings: Surroundings, delayMs: number, again: boolean, callback: () => void) {
    this.#in = surroundings
    this.#delayMs = Number.isFinite(delayMs) ? Math.max(delayMs, 1) : 1
    this.#again = again
    this.#callback = callback
    this.refresh()
  }

  refresh(): this {
    this.#cancel()
    this.#cancel = this.#in.setTimer(this.#delayMs, () => {
      if (this.#again) this.refresh()
      this.#callback()
    })
    return this
  }

  close(): this {
    this.#cancel()
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  [Symbol.dispose](): void {
    this.#cancel()
  }
}

export function replacedTimers(): Restore[] {
  const sleep = sleepOr(timersPromises.setTimeout)
  const { scheduler } = timersPromises
  const wait = scheduler.wait.bind(scheduler)
  const globals = {
    setTimeout: Object.assign(timerOr(setTimeout, false), { [promisify.custom]: sleep }),
    setInterval: timerOr(setInterval, true),
    clearTimeout: clearOr(clearTimeout),
    clearInterval: clearOr(clearInterval),
  }
  return [
    ...Object.entries(globals).flatMap(([name, put]) => [replace(globalThis, name, put), replace(timers, name, put)]),
    replace(timersPromises, 'setTimeout', sleep),
    replace(timersPromises, 'setInterval', ticksOr(timersPromises.setInterval)),
    replace(scheduler, 'wait', (delayMs: number, options?: SleepOptions) =>
      surroundingsHere() === undefined ? wait(delayMs, options) : sleep(delayMs, undefined, options),
    ),
    replace(AbortSignal, 'timeout', timeoutSignalOr(AbortSignal.timeout.bind(AbortSignal))),
  ]
}

function timerOr(real: typeof setTimeout | typeof setInterval, again: boolean) {
  return (callback: Callback, delayMs = 1, ...args: unknown[]) => {
    const here = surroundingsHere()
    if (here === undefined || typeof callback !== 'function') return real(callback, delayMs, ...args)
    return new Timeout(here, delayMs, again, () => callback(...args))
  }
}

function clearOr(real: typeof clearTimeout) {
  return (given: unknown): void => {
    if (given instanceof Timeout) given.close()
    else real(given as NodeJS.Timeout)
  }
}

function sleepOr(real: typeof timersPromises.setTimeout) {
  return <T>(delayMs = 1, value?: T, options: SleepOptions = {}): Promise<T> => {
    if (surroundingsHere() === undefined) return real(delayMs, value as T, options)
    const { signal } = options
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(abortError(signal))
      const onAbort = (): void => {
        clearTimeout(timeout)
        reject(abortError(signal))
      }
      const timeout = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort)
        resolve(value as T)
      }, delayMs)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

function ticksOr(real: typeof timersPromises.setInterval) {
  return <T>(delayMs = 1, value?: T, options: SleepOptions = {}): AsyncIterable<T> =>
    surroundingsHere() === undefined ? real(delayMs, value as T, options) : ticks(delayMs, value as T, options.signal)
}

/** Ticks that became due without a reader are delivered at once, as with Node's own. */
async function* ticks<T>(delayMs: number, value: T, signal: AbortSignal | undefined): AsyncGenerator<T> {
  let due = 0
  let wake = (): void => {}
  const onAbort = (): void => wake()
  const interval = setInterval(() => {
    due++
    wake()
  }, delayMs)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    for (;;) {
      if (signal?.aborted === true) throw abortError(signal)
      if (due === 0) await new Promise<void>((resolve) => (wake = resolve))
      for (; due > 0; due--) yield value
    }
  } finally {
    clearInterval(interval)
    signal?.removeEventListener('abort', onAbort)
  }
}

function timeoutSignalOr(real: typeof AbortSignal.timeout) {
  return (delayMs: number): AbortSignal => {
    if (surroundingsHere() === undefined) return real(delayMs)
    const controller = new AbortController()
    setTimeout(() => controller.abort(new DOMException('The operation timed out', 'TimeoutError')), delayMs)
    return controller.signal
  }
}

/** The rejection of Node's own sleeps. */
function abortError(signal: AbortSignal | undefined): Error {
  const error = new Error('The operation was aborted', { cause: signal?.reason })
  error.name = 'AbortError'
  return Object.assign(error, { code: 'ABORT_ERR' })
}
