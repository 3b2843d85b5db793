/**
 * THE CONTRACT: jobs that run at given times on the instance that leads.
 *
 * The times are instants of the wall clock (`ticks`): multiples of `everyMs` since 1970, or the times of a cron expression. They do not
 * depend on the leader or its start, so a tick has the same `scheduledAt` on every instance.
 *
 *     term begins -> wait for the next tick -> run -> wait ...        term ends -> abort, wait for runs under way
 *
 * Promise: a job runs only while its instance leads, by the clocks at that moment; at most one run of a job at a time, and at most one per
 * tick, in a term. Across terms a tick is missed when there was no leader at that moment, and can run twice when two leaders' clocks
 * disagree by more than the hand-over took. With `lastTick` and the record it reads, written in the job's own transaction under the fence,
 * each tick's effect happens once and the newest missed tick is made up for; `docs/coordination/leaders.md` has it as an example.
 *
 * Not promised: that a run is repeated. A failed run is reported, and the next tick follows.
 */
import type { RuntimeOptions } from '../../core/runtime-options.ts'
import type { Election, Term } from '../leader/election.ts'

/** Options of `createSchedule`. */
export interface ScheduleOptions extends RuntimeOptions {
  /** The leadership the jobs belong to. Its start and close stay with the caller. */
  readonly election: Pick<Election, 'whileLeading'>
  /** Jobs and their times. Their names differ. */
  readonly jobs: readonly ScheduledJob[]
  /**
   * `scheduledAt` of the newest finished tick of a job, from the record of its runs; `undefined` for none. Called at the beginning of each
   * term, and again while it throws. If newer ticks have passed since, the newest one runs at once, for all of them. @default not called:
   * ticks without a leader are skipped
   */
  readonly lastTick?:
    | ((job: string, signal: AbortSignal) => number | undefined | Promise<number | undefined>)
    | undefined
  /** Told of each run that threw, beside the logger. What it throws itself is logged. */
  readonly onError?: ((error: Error, run: JobRun) => void) | undefined
  /** How long `close` waits for what runs. @default 10 seconds */
  readonly stopGraceMs?: number | undefined
}

/** Either `everyMs` or `cron`. */
export type ScheduledJob = JobOptions &
  (
    | { readonly everyMs: number; readonly cron?: undefined; readonly timeZone?: undefined }
    | { readonly cron: string; readonly everyMs?: undefined }
  )

/** When a job of a schedule is due, and what it does: `everyMs` or `cron`. */
export interface JobOptions {
  /** Unique in the schedule. */
  readonly name: string
  /** At every multiple of this since 1970, UTC: 60 000 is each full minute. At least 10. */
  readonly everyMs?: number | undefined
  /**
   * Five fields from minute to weekday, six with seconds before, seven with the year after, or `@daily` and the like. Where
   * clocks are put forward, a fixed time that does not exist that day comes when they have been; where they are put back,
   * one that exists twice comes the first time only. `*` and steps go by what really passes.
   */
  readonly cron?: string | undefined
  /** IANA name in which `cron` is meant, such as `Europe/Berlin`. @default 'UTC' */
  readonly timeZone?: string | undefined
  /**
   * When a tick comes while a run is going on: `skip` leaves it out; `queue` keeps the newest one, which begins when the
   * run ends. @default 'skip'
   */
  readonly overlap?: 'skip' | 'queue' | undefined
  /** A run's signal aborts with `election.job_timeout` after this. There is no other run until it has returned. @default none */
  readonly timeoutMs?: number | undefined
  /** Reaction to a failed run: `continue` waits for the next tick, `resign` ends the term. @default 'continue' */
  readonly onFailure?: 'continue' | 'resign' | undefined
  /** Pass `run.term.term` to what stores the effect. Everything below finds the lease by `currentLease()`. */
  readonly work: (run: JobRun) => void | Promise<void>
}

/** A run of a job: the argument of its `work`. */
export interface JobRun {
  readonly job: string
  /** The fencing token of what this run writes is `term.term`. */
  readonly term: Term
  /** Aborts when the term ends, the schedule closes or the run takes too long. Best effort: `term.assertValid()`. */
  readonly signal: AbortSignal
  /** The tick, epoch ms; not the moment at which the run began. */
  readonly scheduledAt: number
  /** Counts the runs of the job in this term, from 1. */
  readonly run: number
}

/** Jobs that run on the leader of a role: one run of a job at a time, and at most one per tick, in a term. */
export interface Schedule extends AsyncDisposable {
  /** From now on the jobs run in each term, also the one that is being led. Idempotent until closed. @throws `election.closed` */
  start(): void
  status(): readonly JobStatus[]
  health(): ScheduleHealth
  /**
   * Begins no further run, aborts runs under way and waits for them (`stopGraceMs`); called from inside a run, for the others. Idempotent,
   * never rejects.
   */
  close(): Promise<void>
}

/** A job at this moment, with counters of this process. */
export interface JobStatus {
  readonly job: string
  /** `scheduledAt` of the run going on. */
  readonly runningAt: number | undefined
  /** The next tick, while leading. */
  readonly nextAt: number | undefined
  /**
   * Since `start`: runs begun, runs that threw, ticks left out because a run was going on. All that passed at once, in a
   * stall or when the wall clock was set, count as one left out.
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
   * `down`: the last run of some job threw, one has outlived its `timeoutMs`, or `lastTick` throws. A job without
   * `timeoutMs` stays `up` however long a run takes; after three ticks left out `detail` names it.
   */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
