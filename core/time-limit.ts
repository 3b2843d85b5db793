import type { Clock } from './clock.ts'

/** True when `work` has resolved within `durationMs`; false when the time was over first, and `work` goes on alone. */
export async function finishesWithin(clock: Clock, durationMs: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController()
  const timeout = clock.sleep(durationMs, timer.signal).then(
    () => false,
    () => false,
  )
  const finished = await Promise.race([work.then(() => true), timeout])
  timer.abort()
  return finished
}
