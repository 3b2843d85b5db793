import type { Clock } from '../../../core/clock.ts'

/** Settles like `work`, or rejects with `late()` after `durationMs`. A later outcome of `work` is ignored. */
export function within<T>(clock: Clock, durationMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.setTimer(durationMs, () => reject(late()))
    work.then(resolve, reject).finally(cancel)
  })
}

/** Waits for `work` to end, at most `durationMs`. Never rejects. For closing, where a failure has no effect. */
export async function ended(clock: Clock, durationMs: number, work: Promise<unknown>): Promise<void> {
  await within(clock, durationMs, work, () => new Error('late')).catch(() => {})
}
