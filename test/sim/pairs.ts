import type { CoveredPoint } from '@concordat/simulator'

/** Pairs of a point in the code and a fault that were hit, over all workloads. */
export class Pairs {
  readonly #hits = new Map<string, number>()

  add(workload: string, points: readonly CoveredPoint[]): void {
    for (const { point, faults } of points) {
      for (const [kind, times] of Object.entries(faults)) {
        const pair = `${workload}: ${kind} at ${point}`
        this.#hits.set(pair, (this.#hits.get(pair) ?? 0) + times)
      }
    }
  }

  get summary(): string {
    return `${this.#hits.size - this.missing.length} of ${this.#hits.size} pairs of a point and a fault were hit`
  }

  /** Pairs that were possible and never hit. */
  get missing(): readonly string[] {
    return [...this.#hits].filter(([, times]) => times === 0).map(([pair]) => `never: ${pair}`)
  }
}
