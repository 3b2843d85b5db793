import type { Term } from '../leader/election.ts'

/** Parts of a job that the runs of a term use. */
export interface RunHost {
  readonly overlap: 'skip' | 'queue'
  /** Records a skipped tick. */
  skip(): void
  /** Never rejects. @returns an error that ends the term */
  perform(term: Term, scheduledAt: number, number: number, signal: AbortSignal): Promise<Error | undefined>
}

/** The runs of one job in one term: one at a time, and the queue of at most one behind it. */
export class TermRuns {
  readonly #host: RunHost
  readonly #term: Term
  readonly #signal: AbortSignal
  readonly #failed = new AbortController()
  #number = 0
  #running: Promise<void> | undefined
  #queued: number | undefined
  fatal: Error | undefined

  constructor(host: RunHost, term: Term, signal: AbortSignal) {
    this.#host = host
    this.#term = term
    this.#signal = signal
  }

  /** Aborts when a run has ended the term. */
  get failed(): AbortSignal {
    return this.#failed.signal
  }

  get settled(): Promise<void> | undefined {
    return this.#running
  }

  fallDue(tick: number): void {
    if (this.#running === undefined) {
      this.#running = this.#run(tick)
      return
    }
    if (this.#host.overlap === 'skip' || this.#queued !== undefined) this.#host.skip()
    if (this.#host.overlap === 'queue') this.#queued = tick
  }

  async #run(tick: number): Promise<void> {
    for (let next: number | undefined = tick; next !== undefined && this.#mayRun(); next = this.#takeQueued()) {
      this.fatal = await this.#host.perform(this.#term, next, ++this.#number, this.#signal)
      if (this.fatal !== undefined) this.#failed.abort(this.fatal)
    }
    this.#running = undefined
  }

  #takeQueued(): number | undefined {
    const tick = this.#queued
    this.#queued = undefined
    return tick
  }

  /** Checked by the clocks before each run, because the signal of an ended term may not have aborted yet. */
  #mayRun(): boolean {
    if (this.#signal.aborted || this.fatal !== undefined) return false
    try {
      this.#term.assertValid()
      return true
    } catch {
      return false
    }
  }
}
