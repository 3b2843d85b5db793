import type { Clock } from './clock.ts'

/**
 * True if `work` has resolved within `durationMs`; false if the time was over first, in which case `work` continues on its own.
 */
export async function finishesWithin(clock: Clock, durationMs: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController()
  const timeout = clock.sleep(durationMs, timer.signal).then(
    () => false,
    () => false,
  )
  try {
    return await Promise.race([work.then(() => true), timeout])
  } finally {
    timer.abort()
  }
}

/** Waits for `work`, at most `timeoutMs`; then resolves with `otherwise`, and a later rejection is ignored. */
export function within<T, F>(clock: Clock, timeoutMs: number, work: Promise<T>, otherwise: F): Promise<T | F> {
  return new Promise((resolve, reject) => {
    const cancel = clock.setTimer(timeoutMs, () => resolve(otherwise))
    work.then(
      (result) => {
        cancel()
        resolve(result)
      },
      (error: unknown) => {
        cancel()
        reject(error as Error)
      },
    )
  })
}

/**
 * The outcome of `work`, unless `signal` aborts first: then it rejects with the reason of the signal. `work` continues; its
 * rejection is ignored.
 */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  if (signal.aborted) {
    work.catch(noop)
    throw signal.reason
  }
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    work
      .finally(() => signal.removeEventListener('abort', onAbort))
      .then(resolve, reject)
      .catch(noop)
  })
}

function noop(): void {}
