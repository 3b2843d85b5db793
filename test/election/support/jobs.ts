import { createElection, createSchedule, type Election, type Schedule } from 'concordat/election'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import type { JobRun, ScheduledJob, ScheduleOptions } from '../../support/inside/election.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { gate } from '../../support/until.ts'

export const MINUTE = 60_000
/** The fake clock begins on 20 November 2026, 00:00 UTC. */
export const MIDNIGHT = Date.UTC(2026, 10, 20)

export const open: Array<Election | Schedule> = []
const holding: Array<() => Promise<void>> = []
/** Releases what is held, then closes everything; for `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const letGo of holding.splice(0)) await letGo()
  await Promise.all(open.splice(0).map((each) => each.close()))
}

/** Candidates with a schedule each, on one store and one clock. */
export function setup() {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  const node = (jobs: readonly ScheduledJob[], options: Partial<ScheduleOptions> = {}) => {
    const locks = memoryLocks({ server, clock })
    const election = createElection({ locks, role: 'r', ttlMs: 10_000, clock, stopGraceMs: 500 })
    const schedule = createSchedule({ election, jobs, clock, stopGraceMs: 500, ...options })
    open.push(schedule, election)
    schedule.start()
    election.start()
    return { election, schedule }
  }
  return { clock, node }
}

/** A job that keeps its runs and, with `hold`, does not end them before `release`. */
export function recorder(options: Partial<ScheduledJob> = {}, hold = false) {
  const runs: JobRun[] = []
  let isHolding = hold
  let held = gate()
  const job = {
    name: 'j',
    everyMs: MINUTE,
    ...options,
    work: async (run: JobRun) => {
      runs.push(run)
      if (isHolding) await held.opened
    },
  } as ScheduledJob
  const release = async (): Promise<void> => {
    held.open()
    held = gate()
    await drain()
  }
  holding.push(() => {
    isHolding = false
    return release()
  })
  const minutes = (): number[] => runs.map(({ scheduledAt }) => (scheduledAt - MIDNIGHT) / MINUTE)
  return { job, runs, minutes, release }
}
