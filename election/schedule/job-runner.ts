import { endingContext } from '../../core/async-contexts.ts'
import { type Clock, MINUTE, SECOND } from '../../core/clock.ts'
import { show, toError } from '../../core/errors.ts'
import { unlessAborted } from '../../core/time-limit.ts'
import type { Term } from '../leader/election.ts'
import { ElectionError } from '../leader/errors.ts'
import type { ResolvedJob, ResolvedSchedule } from './schedule-options.ts'
import type { JobRun, JobStatus, ScheduleOptions } from './schedule-types.ts'
import { type RunHost, TermRuns } from './term-runs.ts'

/** Longest sleep, within which a change of the wall clock is noticed, and no timer overflows. */
const MAX_SLEEP_MS = 1 * MINUTE
/** A wall clock set back by more than this is followed; by less, past ticks are not repeated. */
const SET_BACK_MS = 1 * MINUTE
const ASK_AGAIN_MS = 1 * SECOND
/** Time limit of `lastTick`, after which health reports it, and it is aborted and called again. */
const LAST_TICK_MS = 10 * SECOND

/** Number of ticks skipped during a run before the detail of health names it. */
const TELL_AFTER_TICKS = 3

/** The run that the calling code is part of. */
const inside = endingContext<CurrentRun>()

/** A job across all terms: waits for its ticks while its instance leads, and runs it. */
export class JobRunner implements RunHost {
  readonly #job: ResolvedJob
  readonly #schedule: ResolvedSchedule
  readonly #closing: AbortSignal
  #current: CurrentRun | undefined
  #nextAt: number | undefined
  #isLeading = false
  #runs = 0
  #failures = 0
  #skipped = 0
  #error: string | undefined
  /** The instant that `lastTick` returned, if it was far in the future. */
  #recordedAhead: number | undefined

  constructor(job: ResolvedJob, schedule: ResolvedSchedule, closing: AbortSignal) {
    this.#job = job
    this.#schedule = schedule
    this.#closing = closing
  }

  status(): JobStatus {
    return {
      job: this.#job.name,
      runningAt: this.#current?.scheduledAt,
      nextAt: this.#nextAt,
      runs: this.#runs,
      failures: this.#failures,
      skipped: this.#skipped,
      error: this.#error,
    }
  }

  /** The job's problem, for health: only on the leader, because the others have nothing to do. */
  problem(): string | undefined {
    if (!this.#isLeading) return undefined
    const { name, timeoutMs } = this.#job
    if (this.#current?.isOverdue === true) return `a run of job "${name}" has not returned after ${timeoutMs} ms`
    const ahead = this.#aheadText()
    if (ahead !== undefined) return `job "${name}": ${ahead}`
    return this.#error === undefined ? undefined : `job "${name}": ${this.#error}`
  }

  /** For the detail of a healthy job: a run without a time limit may hang or only take long. */
  note(): string | undefined {
    const leftOut = this.#current?.leftOut ?? 0
    if (leftOut < TELL_AFTER_TICKS) return undefined
    return `a run of job "${this.#job.name}" has not returned since ${leftOut} ticks; give the job a timeoutMs to be told of it`
  }

  /** Effects that compare their tick with the record are dropped until the clock has passed it. */
  #aheadText(): string | undefined {
    const { clock } = this.#schedule
    if (this.#recordedAhead === undefined || this.#recordedAhead - clock.now() <= SET_BACK_MS) return undefined
    const instant = new Date(this.#recordedAhead)
    const at = Number.isNaN(instant.getTime()) ? String(this.#recordedAhead) : instant.toISOString()
    return `its last tick is recorded at ${at}, ahead of this clock: a leader's clock was wrong, or this one is; correct the record`
  }

  /** Resolves when running calls have ended; at once for a caller that is part of one, which would wait for itself. */
  async idle(): Promise<void> {
    if (this.#current !== inside.getStore()) await this.#current?.settled
  }

  /** Runs the job during a term, until the term ends. @throws the error of a run whose job ends the term */
  async lead(term: Term): Promise<void> {
    const signal = AbortSignal.any([term.signal, this.#closing])
    const runs = new TermRuns(this, term, signal)
    const over = AbortSignal.any([signal, runs.failed])
    this.#isLeading = true
    // Forget a problem of an earlier term: another leader may have run the job since.
    this.#error = undefined
    this.#recordedAhead = undefined
    try {
      let from = await this.#makeUp(runs, signal)
      while (!over.aborted) {
        this.#nextAt = this.#job.ticks.after(from)
        if (this.#nextAt === undefined) break
        from = await this.#wait(this.#nextAt, from, over)
        if (from >= this.#nextAt) runs.fallDue(from)
      }
    } catch (error) {
      // Only the end of the term or the schedule, or a fatal run, ends a wait.
      if (!over.aborted) throw error
    } finally {
      this.#nextAt = undefined
      await runs.settled
      this.#isLeading = false
    }
    if (runs.fatal !== undefined) throw runs.fatal
  }

  /** Runs the newest tick missed since the last recorded one. @returns start of the next wait */
  async #makeUp(runs: TermRuns, signal: AbortSignal): Promise<number> {
    const { lastTick, clock, logger } = this.#schedule
    while (lastTick !== undefined) {
      try {
        const done = await this.#lastTick(lastTick, signal)
        this.#error = undefined
        const now = clock.now()
        const missed = this.#job.ticks.upTo(now)
        if (done === undefined || missed === undefined) return now
        if (missed > done) runs.fallDue(missed)
        // Recorded by a leader whose clock is ahead; if far ahead, one of the two clocks is wrong.
        if (done - now <= SET_BACK_MS) return Math.max(now, done)
        this.#recordedAhead = done
        logger.warn({ job: this.#job.name, recordedAt: done, now }, 'schedule: the last tick is recorded in the future')
        return now
      } catch (error) {
        signal.throwIfAborted()
        this.#error = `lastTick failed: ${toError(error).message}`
        logger.warn({ job: this.#job.name, err: error }, 'schedule: cannot tell what is done, asking again')
        await clock.sleep(ASK_AGAIN_MS, signal)
      }
    }
    return clock.now()
  }

  /** @throws the error of `lastTick`, an error if it takes too long or returns no instant; the reason of the signal */
  async #lastTick(
    lastTick: NonNullable<ScheduleOptions['lastTick']>,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const limit = new AbortController()
    const cancel = this.#schedule.clock.setTimer(LAST_TICK_MS, () =>
      limit.abort(new Error(`no answer in ${LAST_TICK_MS} ms`)),
    )
    const either = AbortSignal.any([signal, limit.signal])
    try {
      return instantOf(await unlessAborted(either, Promise.resolve(lastTick(this.#job.name, either))))
    } finally {
      cancel()
    }
  }

  /** @returns the newest tick that is due, at least `next`; an earlier instant when the clock was set back */
  async #wait(next: number, from: number, signal: AbortSignal): Promise<number> {
    const { clock } = this.#schedule
    for (let now = clock.now(); ; now = clock.now()) {
      signal.throwIfAborted()
      if (now < from - SET_BACK_MS) return now
      if (now >= next) return this.#newestDue(next, now)
      await clock.sleep(Math.min(next - now, MAX_SLEEP_MS), signal)
    }
  }

  /** After a stall several ticks may have passed: the newest replaces all. */
  #newestDue(next: number, now: number): number {
    const newest = Math.max(next, this.#job.ticks.upTo(now) ?? next)
    if (newest > next) this.#skipped++
    return newest
  }

  skip(): void {
    this.#skipped++
    if (this.#current !== undefined) this.#current.leftOut++
  }

  get overlap(): 'skip' | 'queue' {
    return this.#job.overlap
  }

  /** Performs a run, from its check to its end. Never rejects. @returns an error that ends the term */
  async perform(term: Term, scheduledAt: number, number: number, signal: AbortSignal): Promise<Error | undefined> {
    const { clock, logger } = this.#schedule
    const { name, work, timeoutMs, onFailure } = this.#job
    const current = new CurrentRun({ scheduledAt, clock, job: name, timeoutMs })
    this.#current = current
    this.#runs++
    const run: JobRun = { job: name, term, signal: current.signalWith(signal), scheduledAt, run: number }
    try {
      await inside.run(current, () => work(run))
      this.#error = undefined
      return undefined
    } catch (thrown) {
      const error = toError(thrown)
      if (signal.aborted) {
        logger.info({ job: name, scheduledAt, err: error }, 'schedule: a run ended with its term')
        return undefined
      }
      this.#failures++
      this.#error = error.message
      logger.error({ job: name, scheduledAt, term: term.term, err: error }, 'schedule: a run failed')
      this.#report(error, run)
      return onFailure === 'resign' ? error : undefined
    } finally {
      this.#current = undefined
      current.end()
    }
  }

  #report(error: Error, run: JobRun): void {
    const { onError, logger } = this.#schedule
    const tell = async (): Promise<void> => onError?.(error, run)
    tell().catch((cause: unknown) => logger.error({ job: run.job, err: cause }, 'schedule: onError failed'))
  }
}

/** Databases return a bigint as text, and null for none. @throws TypeError for a value that is not an instant */
function instantOf(done: unknown): number | undefined {
  if (done === undefined || done === null) return undefined
  const isNumeric =
    typeof done === 'number' || typeof done === 'bigint' || (typeof done === 'string' && done.trim() !== '')
  const instant = isNumeric ? Number(done) : Number.NaN
  if (Number.isFinite(instant)) return instant
  throw new TypeError(`expected an instant in epoch ms or undefined, got ${show(done)}`)
}

/** A running call, with its time limit. */
class CurrentRun {
  readonly scheduledAt: number
  /** Number of ticks skipped since it began. */
  leftOut = 0
  readonly #timeout = new AbortController()
  readonly #cancel: () => void
  readonly #ended = Promise.withResolvers<void>()

  constructor(fields: {
    readonly scheduledAt: number
    readonly clock: Clock
    readonly job: string
    readonly timeoutMs: number | undefined
  }) {
    const { clock, job, timeoutMs } = fields
    this.scheduledAt = fields.scheduledAt
    this.#cancel =
      timeoutMs === undefined
        ? () => {}
        : clock.setTimer(timeoutMs, () =>
            this.#timeout.abort(new ElectionError('election.job_timeout', { job, timeoutMs })),
          )
  }

  get isOverdue(): boolean {
    return this.#timeout.signal.aborted
  }

  get settled(): Promise<void> {
    return this.#ended.promise
  }

  signalWith(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#timeout.signal])
  }

  end(): void {
    this.#cancel()
    this.#ended.resolve()
  }
}
