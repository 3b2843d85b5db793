/** The steps of a saga as a run of a machine sees them: what was done, and what is to be done next. */

import type { GrownStep, StepState } from './engine-types.ts'
import type { Thrown } from './java-exceptions.ts'

/** Result of a task. */
export interface TaskResult {
  readonly value?: unknown
  readonly thrown?: Thrown | undefined
}

/** Suspends a run until awaited rows are done. */
export type Suspended<T> = Generator<void, T, void>

/** The saga's own rows and branches, and what is written beside the row of a task. */
const RESERVED = /^(?:machine|outcome|task|pause|recovery(?: \d+)?)$| (?:retry|pause) \d+$/

export class StepResults {
  readonly #known: ReadonlyMap<string, StepState>
  readonly #names = new Set<string>()
  /** The names of what was begun, also of what has rows only for its parts: `Pay` of `Pay/Reserve`, `A` of `A retry 1`. */
  readonly #begun = new Set<string>()
  #asked = 0
  /** Requested rows that do not exist yet. */
  readonly wanted: GrownStep[] = []

  constructor(steps: readonly StepState[]) {
    this.#known = new Map(steps.map((step) => [step.step, step]))
    for (const { step } of steps) for (const name of namesWithin(step)) this.#begun.add(name)
  }

  /** How many rows were asked for so far. */
  get asked(): number {
    return this.#asked
  }

  /** A name that no other row has, and none of the saga's own; the same in each replay. */
  unique(name: string): string {
    let unique = name
    for (let n = 1; this.#names.has(unique) || RESERVED.test(unique); n++) unique = `${name}.${n}`
    this.#names.add(unique)
    return unique
  }

  /** Result of the row; requests it if it is missing, and waits until it is done. */
  *done(step: string, branch: string, payload: unknown): Suspended<unknown> {
    this.#asked++
    const row = this.#known.get(step)
    if (row === undefined) this.wanted.push({ step, branch, payload })
    while (row === undefined || (row.status !== 'invoked' && row.status !== 'skipped')) yield
    return row.result
  }

  /** An earlier call under this row may have taken effect: its process ended before it returned. */
  isInDoubt(step: string): boolean {
    return this.#known.get(step)?.doubt === true
  }

  /** Something of this name was begun. */
  isBegun(name: string): boolean {
    return this.#begun.has(name)
  }

  /** An operator's n-th order. */
  order(step: string): unknown {
    const row = this.#known.get(step)
    return row !== undefined && row.status === 'invoked' ? row.result : undefined
  }
}

/** The name, and what is before each slash and blank of it. */
function* namesWithin(name: string): Generator<string, void> {
  yield name
  for (let at = 0; at < name.length; at++) if (name[at] === '/' || name[at] === ' ') yield name.slice(0, at)
}
