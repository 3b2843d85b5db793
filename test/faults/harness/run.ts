import { inspect } from 'node:util'
import { told } from './errors.ts'
import { plan, randomOf } from './plan.ts'
import { COUNTED } from './report.ts'
import type { Arena, EpisodeReport, Suite } from './suite.ts'

export interface RunOptions {
  readonly seed: number
  /** No second round of the faults starts after this time. The first one is always finished. */
  readonly seconds: number
  /** The faults to play. */
  readonly faults: readonly string[]
  readonly broken: string | undefined
  readonly transport: string | undefined
  readonly lanes: number
  readonly folder: string
  readonly signal: AbortSignal
  readonly say: (line: string) => void
}

export interface RunResult {
  readonly reports: readonly EpisodeReport[]
  /** The run itself went wrong: a server that did not start, a worker that did not answer. */
  readonly troubles: readonly string[]
  readonly tookMs: number
}

/** Plays the plan in lanes that run side by side, and judges. Stops early at the first violation. */
export async function runSuite(suite: Suite, options: RunOptions): Promise<RunResult> {
  const begun = performance.now()
  const run = new Run(suite, options, begun)
  const arena = await suite.open({
    folder: options.folder,
    seed: options.seed,
    broken: options.broken,
    transport: options.transport,
    lanes: options.lanes,
    signal: options.signal,
  })
  try {
    await Promise.race([run.play(arena), given(options.signal)])
  } finally {
    await arena.close()
  }
  return { reports: run.reports, troubles: run.troubles, tookMs: performance.now() - begun }
}

/** Resolves when the run is given up: what still plays loses its servers and workers then. */
function given(up: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (up.aborted) resolve()
    else up.addEventListener('abort', () => resolve(), { once: true })
  })
}

class Run {
  readonly reports: EpisodeReport[] = []
  readonly troubles: string[] = []
  readonly #options: RunOptions
  readonly #suite: Suite
  readonly #plan: ReturnType<typeof plan>
  readonly #begun: number
  readonly #judging: Promise<void>[] = []
  #stopped = false

  constructor(suite: Suite, options: RunOptions, begun: number) {
    this.#suite = suite
    this.#options = options
    this.#begun = begun
    this.#plan = plan(options.seed, options.faults)
  }

  async play(arena: Arena): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.lanes }, (_, lane) => this.#lane(arena, lane)))
    await Promise.all(this.#judging)
  }

  async #lane(arena: Arena, lane: number): Promise<void> {
    for (;;) {
      if (this.#stopped || this.#options.signal.aborted) return
      const planned = this.#plan.next().value as ReturnType<typeof plan> extends Generator<infer T> ? T : never
      const elapsed = performance.now() - this.#begun
      if (planned.round > 1 && elapsed > this.#options.seconds * 1_000) return
      const what = this.#suite.faults.find(({ name }) => name === planned.fault)?.what ?? ''
      this.#say(`${planned.number}. ${planned.fault}: ${what}`)
      try {
        const random = randomOf(this.#options.seed, planned)
        const played = await arena.play({ ...planned, lane, random })
        this.#judging.push(this.#judge(planned, () => played.judge()))
      } catch (error) {
        this.#trouble(planned, error)
      }
    }
  }

  async #judge(planned: { number: number; fault: string }, judge: () => Promise<EpisodeReport>): Promise<void> {
    try {
      const report = await judge()
      this.reports.push(report)
      const { operations, grants, accepted, refused, unknown } = report.counts
      const broken = report.verdicts.filter(({ holds }) => !holds)
      const verdict = broken.length === 0 ? 'holds' : `VIOLATED: ${broken.map(({ invariant }) => invariant).join(', ')}`
      const named = this.#suite.counted ?? COUNTED
      const counts = `${operations} ${named.operations}, ${grants} ${named.grants}, ${accepted} ${named.accepted}`
      const more = `${refused} ${named.refused}, ${unknown} ${named.unknown}`
      this.#say(`${planned.number}. ${planned.fault}: ${counts}, ${more}: ${verdict}${this.#soFar()}`)
      if (broken.length > 0) this.#stopped = true
    } catch (error) {
      this.#trouble(planned, error)
    }
  }

  #soFar(): string {
    const operations = this.reports.reduce((sum, { counts }) => sum + counts.operations, 0)
    const played = new Set(this.reports.map(({ fault }) => fault)).size
    return ` (so far ${played} of ${this.#options.faults.length} faults, ${operations} ${(this.#suite.counted ?? COUNTED).operations})`
  }

  #trouble(planned: { number: number; fault: string }, error: unknown): void {
    this.#stopped = true
    if (this.#options.signal.aborted) return
    this.troubles.push(`episode ${planned.number}, ${planned.fault}: ${inspect(error)}`)
    this.#say(`${planned.number}. ${planned.fault}: the episode failed: ${told(error)}`)
  }

  #say(line: string): void {
    const seconds = ((performance.now() - this.#begun) / 1_000).toFixed(0).padStart(3)
    this.#options.say(`[${seconds} s] ${line}`)
  }
}
