/** The steps of a saga, as a run of a machine sees them: the existing results, and the requested rows. */

import type { GrownStep, StepState } from './engine-types.ts'
import type { Thrown } from './java-exceptions.ts'

/** Result of a task. */
export interface TaskResult {
  readonly value?: unknown
  readonly thrown?: Thrown | undefined
}

/** Suspends a run until awaited rows are done. */
export type Suspended<T> = Generator<void, T, void>

/** The saga's own rows and branches, and the data written beside the row of a task. */
const RESERVED = /^(?:machine|outcome|task|pause|recovery(?: \d+)?)$| (?:retry|pause) \d+$/

export class StepResults {
  readonly #known: ReadonlyMap<string, StepState>
  readonly #names = new Set<string>()
  /** Names of started rows, including names of which only parts have rows: `Pay` of `Pay/Reserve`, `A` of `A retry 1`. */
  readonly #begun = new Set<string>()
  #asked = 0
  /** Requested rows that do not exist yet. */
  readonly wanted: GrownStep[] = []

  constructor(steps: readonly StepState[]) {
    this.#known = new Map(steps.map((step) => [step.step, step]))
    for (const { step } of steps) for (const name of namesWithin(step)) this.#begun.add(name)
  }

  /** Number of rows requested so far. */
  get asked(): number {
    return this.#asked
  }

  /** A name that no other row has, and no part of the saga; the same in each replay. */
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

  /** A row with this name was started. */
  isBegun(name: string): boolean {
    return this.#begun.has(name)
  }

  /** The n-th action of an operator. */
  order(step: string): unknown {
    const row = this.#known.get(step)
    return row !== undefined && row.status === 'invoked' ? row.result : undefined
  }
}

/** The name, and its prefixes before each slash and space. */
function* namesWithin(name: string): Generator<string, void> {
  yield name
  for (let at = 0; at < name.length; at++) if (name[at] === '/' || name[at] === ' ') yield name.slice(0, at)
}
