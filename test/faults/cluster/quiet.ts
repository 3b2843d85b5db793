import { setTimeout as sleep } from 'node:timers/promises'

export interface Patience {
  /** As long as nothing becomes less. */
  readonly stillMs: number
  readonly mostMs: number
  readonly everyMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Waits until nothing is left. A busy machine works off slowly what an outage has left, so what counts is that it becomes less.
 * @param left how much; infinite while nobody can know
 * @returns what is left then
 */
export async function untilQuiet(
  left: () => Promise<number>,
  { stillMs, mostMs, everyMs = 100, signal }: Patience,
): Promise<number> {
  const begun = performance.now()
  let [least, movedAt] = [Number.POSITIVE_INFINITY, begun]
  for (;;) {
    const now = await left()
    if (now === 0 || signal?.aborted === true) return now
    if (now < least) [least, movedAt] = [now, performance.now()]
    if (performance.now() - movedAt > stillMs || performance.now() - begun > mostMs) return now
    await sleep(everyMs)
  }
}
