/** Finds a minimal set of faults that makes a history fail. */
import type { SimulatedFault } from './faults.ts'

/**
 * Leaves out parts while the rest still fails: halves first, then single ones, until none can be left out. Faults after the last
 * needed fault of a history are removed at once, because nothing depends on them.
 * @param fails runs with only these. @returns what happened, or undefined if everything holds
 * @see Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input" (ddmin), IEEE TSE 2002
 */
export async function fewestFaults<T>(
  faults: readonly SimulatedFault[],
  fails: (faults: readonly SimulatedFault[]) => Promise<T | undefined>,
  mostPlays: number,
): Promise<{ readonly faults: readonly SimulatedFault[]; readonly outcome: T } | undefined> {
  let least = faults
  let outcome: T | undefined
  let plays = 0
  for (let parts = 1; least.length > 0 && plays < mostPlays; ) {
    const size = Math.ceil(least.length / parts)
    let isShorter = false
    for (let from = 0; from < least.length && plays < mostPlays; from += size) {
      const fewer = [...least.slice(0, from), ...least.slice(from + size)]
      plays++
      const failed = await fails(fewer)
      if (failed === undefined) continue
      least = fewer
      outcome = failed
      isShorter = true
      break
    }
    if (isShorter) parts = Math.max(1, parts - 1)
    else if (size === 1) break
    else parts = Math.min(least.length, parts * 2)
  }
  return outcome === undefined ? undefined : { faults: least, outcome }
}
