import { within } from '../../core/time-limit.ts'
import { ElectionError } from '../leader/errors.ts'
import { JobRunner } from './job-runner.ts'
import { type ResolvedSchedule, resolveSchedule } from './schedule-options.ts'
import type { JobStatus, Schedule, ScheduleHealth, ScheduleOptions } from './schedule-types.ts'

/**
 * Creates a schedule of jobs on the leader. Does nothing until `start()`.
 * @throws TypeError / RangeError naming the job and the option, also for an invalid cron expression
 */
export function createSchedule(options: ScheduleOptions): Schedule {
  return new JobSchedule(resolveSchedule(options))
}

class JobSchedule implements Schedule {
  readonly #options: ResolvedSchedule
  readonly #closing = new AbortController()
  readonly #runners: readonly JobRunner[]
  readonly #detach: Array<() => void> = []
  #isStarted = false

  constructor(options: ResolvedSchedule) {
    this.#options = options
    this.#runners = options.jobs.map((job) => new JobRunner(job, options, this.#closing.signal))
  }

  start(): void {
    if (this.#closing.signal.aborted)
      throw new ElectionError('election.closed', { part: 'schedule', make: 'createSchedule()' })
    if (this.#isStarted) return
    this.#isStarted = true
    // Separately, because the failure of a job that ends the term must not wait for the others.
    for (const runner of this.#runners) {
      this.#detach.push(this.#options.election.whileLeading((term) => runner.lead(term)))
    }
  }

  status(): readonly JobStatus[] {
    return this.#runners.map((runner) => runner.status())
  }

  health(): ScheduleHealth {
    if (this.#closing.signal.aborted) return { status: 'closed' }
    if (!this.#isStarted) return { status: 'idle' }
    const problems = this.#runners.map((runner) => runner.problem()).filter((problem) => problem !== undefined)
    if (problems.length > 0) return { status: 'down', detail: problems.join('; ') }
    const notes = this.#runners.map((runner) => runner.note()).filter((note) => note !== undefined)
    return notes.length === 0 ? { status: 'up' } : { status: 'up', detail: notes.join('; ') }
  }

  async close(): Promise<void> {
    for (const detach of this.#detach.splice(0)) detach()
    this.#closing.abort(new Error('the schedule is closed'))
    const { clock, stopGraceMs } = this.#options
    await within(clock, stopGraceMs, Promise.all(this.#runners.map((runner) => runner.idle())), undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
