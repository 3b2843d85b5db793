import { type Clock, SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, resolveRuntime } from '../../core/runtime-options.ts'
import type { JobOptions, ScheduledJob, ScheduleOptions } from './schedule-types.ts'
import { cronTicks, everyTicks, type Ticks } from './ticks.ts'

export interface ResolvedJob {
  readonly name: string
  readonly ticks: Ticks
  readonly overlap: 'skip' | 'queue'
  readonly timeoutMs: number | undefined
  readonly onFailure: 'continue' | 'resign'
  readonly work: ScheduledJob['work']
}

export type ResolvedSchedule = Readonly<
  Pick<ScheduleOptions, 'election' | 'lastTick' | 'onError'> & {
    jobs: readonly ResolvedJob[]
    stopGraceMs: number
    logger: Logger
    clock: Clock
  }
>

const NAMES = optionNames<ScheduleOptions>({
  election: true,
  jobs: true,
  lastTick: true,
  onError: true,
  stopGraceMs: true,
  ...RUNTIME_NAMES,
})

const JOB_NAMES = optionNames<JobOptions>({
  name: true,
  everyMs: true,
  cron: true,
  timeZone: true,
  overlap: true,
  timeoutMs: true,
  onFailure: true,
  work: true,
})

/** Applies the defaults and checks. @throws TypeError / RangeError naming the job and the option */
export function resolveSchedule(options: ScheduleOptions): ResolvedSchedule {
  refuseUnknown('createSchedule', options, NAMES)
  if (!hasMethods(options.election, ['whileLeading'])) {
    throw wrongKind('createSchedule.election', options.election, 'what createElection returned')
  }
  if (!Array.isArray(options.jobs)) throw wrongKind('createSchedule.jobs', options.jobs, 'a list of jobs')
  const { clock, logger } = resolveRuntime('createSchedule', options)
  const jobs = (options.jobs as readonly ScheduledJob[]).map((job, index) => resolveJob(job, index, clock.now()))
  const twice = jobs.find((job, index) => jobs.findIndex(({ name }) => name === job.name) !== index)
  if (twice !== undefined) throw invalidOption('createSchedule.jobs', twice.name, 'a name of its own for each job')
  return {
    election: options.election,
    lastTick: optionalFunction('createSchedule.lastTick', options.lastTick),
    onError: optionalFunction('createSchedule.onError', options.onError),
    jobs,
    stopGraceMs: requireInteger('createSchedule.stopGraceMs', options.stopGraceMs ?? 10 * SECOND, 0),
    logger,
    clock,
  }
}

function resolveJob(job: ScheduledJob, index: number, now: number): ResolvedJob {
  refuseUnknown(`createSchedule.jobs[${index}]`, job, JOB_NAMES)
  const name = requireText(`createSchedule.jobs[${index}].name`, job.name)
  const path = `job("${name}")`
  if (typeof job.work !== 'function') throw wrongKind(`${path}.work`, job.work, 'a function of the run')
  return {
    name,
    ticks: resolveTicks(path, job, now),
    overlap: oneOf(`${path}.overlap`, job.overlap ?? 'skip', ['skip', 'queue']),
    timeoutMs: job.timeoutMs === undefined ? undefined : requireInteger(`${path}.timeoutMs`, job.timeoutMs, 1),
    onFailure: oneOf(`${path}.onFailure`, job.onFailure ?? 'continue', ['continue', 'resign']),
    work: job.work,
  }
}

function resolveTicks(path: string, job: JobOptions, now: number): Ticks {
  if ((job.everyMs === undefined) === (job.cron === undefined)) {
    throw new TypeError(`${path}: expected either everyMs or cron, got ${job.cron === undefined ? 'neither' : 'both'}`)
  }
  if (job.cron !== undefined) return cronTicks(path, job.cron, job.timeZone ?? 'UTC', now)
  if (job.timeZone !== undefined)
    throw invalidOption(`${path}.timeZone`, job.timeZone, 'none: everyMs has no time zone')
  return everyTicks(`${path}.everyMs`, job.everyMs)
}

function oneOf<T extends string>(path: string, value: T, values: readonly T[]): T {
  if (values.includes(value)) return value
  throw invalidOption(path, value, values.map((each) => `'${each}'`).join(' or '))
}

function optionalFunction<T>(path: string, value: T): T {
  if (value === undefined || typeof value === 'function') return value
  throw wrongKind(path, value, 'a function')
}
