import type { FaultKind } from './faults.ts'

/** A point in the code and the faults there, over all histories. */
export interface CoveredPoint {
  /** The service, and its request to the world. */
  readonly point: string
  readonly times: number
  /** How often each possible fault happened there; 0: never. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>
}

/** Counts pairs of a point and a fault. */
export class FaultCoverage {
  readonly #points = new Map<string, { times: number; readonly faults: Map<FaultKind, number> }>()

  passed(point: string, kinds: readonly FaultKind[], fault: FaultKind | undefined): void {
    let known = this.#points.get(point)
    if (known === undefined) {
      known = { times: 0, faults: new Map(kinds.map((kind) => [kind, 0])) }
      this.#points.set(point, known)
    }
    known.times++
    if (fault !== undefined) known.faults.set(fault, (known.faults.get(fault) ?? 0) + 1)
  }

  get points(): readonly CoveredPoint[] {
    return [...this.#points]
      .map(([point, { times, faults }]) => ({ point, times, faults: Object.fromEntries(faults) }))
      .toSorted((a, b) => (a.point < b.point ? -1 : 1))
  }
}
