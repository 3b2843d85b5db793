import type { Clock } from '../../../core/clock.ts'

/** Settles as `work` does, or rejects with `late()` after `durationMs`. What `work` comes to after that is dropped. */
export function within<T>(clock: Clock, durationMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.setTimer(durationMs, () => reject(late()))
    work.then(resolve, reject).finally(cancel)
  })
}

/** Waits for `work` to end, at most `durationMs`. Never rejects. For closing, where a failure changes nothing. */
export async function ended(clock: Clock, durationMs: number, work: Promise<unknown>): Promise<void> {
  await within(clock, durationMs, work, () => new Error('late')).catch(() => {})
}
