import { setTimeout as sleep } from 'node:timers/promises'

export interface Patience {
  /** Time for which the remainder may stay the same. */
  readonly stillMs: number
  readonly mostMs: number
  readonly everyMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Waits until nothing is left. A busy machine is slow with the backlog of an outage, so what counts is that the backlog
 * shrinks.
 * @param left size of the backlog; infinite while it is unknown
 * @returns the backlog at the end
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
