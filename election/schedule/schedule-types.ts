/**
 * Contract: jobs that run at given times on the leading instance.
 *
 * Times are instants of the wall clock (`ticks`): multiples of `everyMs` since 1970, or the times of a cron expression. They do
 * not depend on the leader or its start, so a tick has the same `scheduledAt` on every instance.
 *
 *     term begins -> wait for the next tick -> run -> wait ...        term ends -> abort, wait for running calls
 *
 * Promise: a job runs only while its instance leads, by the clocks at that moment; at most one run of a job at a time, and at
 * most one per tick, in a term. Across terms a tick is missed when there was no leader at that moment, and can run twice when two
 * leaders' clocks disagree by more than the duration of the hand-over. With `lastTick` and the record that it reads, written in
 * the job's own transaction under the fence, each tick's effect happens once and the newest missed tick is made up for;
 * `docs/coordination/leaders.md` has an example.
 *
 * Not promised: that a run is repeated. A failed run is reported, and the next tick follows.
 */
import type { RuntimeOptions } from '../../core/runtime-options.ts'
import type { Election, Term } from '../leader/election.ts'

/** Options of `createSchedule`. */
export interface ScheduleOptions extends RuntimeOptions {
  /** Leadership that the jobs belong to. The caller starts and closes it. */
  readonly election: Pick<Election, 'whileLeading'>
  /** Jobs and their times, with different names. */
  readonly jobs: readonly ScheduledJob[]
  /**
   * Returns `scheduledAt` of the newest finished tick of a job, from the record of its runs; `undefined` for none. Called at the
   * beginning of each term, and again while it throws. If newer ticks have passed since, the newest one runs at once, in place of
   * all. @default not called: ticks without a leader are skipped
   */
  readonly lastTick?:
    | ((job: string, signal: AbortSignal) => number | undefined | Promise<number | undefined>)
    | undefined
  /** Called for each run that threw, in addition to the log. Its own errors are logged. */
  readonly onError?: ((error: Error, run: JobRun) => void) | undefined
  /** How long `close` waits for running calls. @default 10 seconds */
  readonly stopGraceMs?: number | undefined
}

/** Either `everyMs` or `cron`. */
export type ScheduledJob = JobOptions &
  (
    | { readonly everyMs: number; readonly cron?: undefined; readonly timeZone?: undefined }
    | { readonly cron: string; readonly everyMs?: undefined }
  )

/** Times of a job, `everyMs` or `cron`, and its work. */
export interface JobOptions {
  /** Unique in the schedule. */
  readonly name: string
  /** Runs at every multiple of this since 1970, UTC: 60 000 is each full minute. At least 10. */
  readonly everyMs?: number | undefined
  /**
   * Five fields from minute to weekday, six with seconds before, seven with the year after, or `@daily` and similar. Where clocks
   * are put forward, a fixed time that does not exist on that day runs right after the change; where they are put back, a
   * repeated time runs the first time only. `*` and steps follow elapsed time.
   */
  readonly cron?: string | undefined
  /** IANA name of the time zone of `cron`, such as `Europe/Berlin`. @default 'UTC' */
  readonly timeZone?: string | undefined
  /**
   * Treatment of a tick during a run: `skip` omits it; `queue` keeps the newest one, which begins when the run ends. @default
   * 'skip'
   */
  readonly overlap?: 'skip' | 'queue' | undefined
  /**
   * Time limit after which a run's signal aborts with `election.job_timeout`. No other run begins until it has returned. @default
   * none
   */
  readonly timeoutMs?: number | undefined
  /** Reaction to a failed run: `continue` waits for the next tick, `resign` ends the term. @default 'continue' */
  readonly onFailure?: 'continue' | 'resign' | undefined
  /** Work of the job. Pass `run.term.term` to the system that stores the effect. `currentLease()` returns the lease inside it. */
  readonly work: (run: JobRun) => void | Promise<void>
}

/** A run of a job: the argument of its `work`. */
export interface JobRun {
  readonly job: string
  /** `term.term` is the fencing token for writes of this run. */
  readonly term: Term
  /** Aborts when the term ends, the schedule closes or the run takes too long. Best effort: use `term.assertValid()`. */
  readonly signal: AbortSignal
  /** The tick, epoch ms; not the moment at which the run began. */
  readonly scheduledAt: number
  /** Number of the job's run in this term, from 1. */
  readonly run: number
}

/** Jobs that run on the leader of a role: one run of a job at a time, and at most one per tick, in a term. */
export interface Schedule extends AsyncDisposable {
  /** Starts to run the jobs in each term, including the current one. Idempotent until closed. @throws `election.closed` */
  start(): void
  status(): readonly JobStatus[]
  health(): ScheduleHealth
  /**
   * Begins no further run, aborts running ones and waits for them (`stopGraceMs`); inside a run, for the others. Idempotent,
   * never rejects.
   */
  close(): Promise<void>
}

/** Current state of a job, with counters of this process. */
export interface JobStatus {
  readonly job: string
  /** `scheduledAt` of the current run. */
  readonly runningAt: number | undefined
  /** The next tick, while leading. */
  readonly nextAt: number | undefined
  /**
   * Numbers since `start`: runs begun, runs that threw, ticks skipped because of a running one. Ticks that passed at once, in a
   * stall or when the wall clock was set, count as one skipped.
   */
  readonly runs: number
  readonly failures: number
  readonly skipped: number
  /** Error of the last run, or of `lastTick`. */
  readonly error: string | undefined
}

/** Whether the jobs of a schedule do what they should. */
export interface ScheduleHealth {
  /**
   * `down`: the last run of some job threw, one has exceeded its `timeoutMs`, or `lastTick` throws. A job without `timeoutMs`
   * stays `up` however long a run takes; after three skipped ticks `detail` names it.
   */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
