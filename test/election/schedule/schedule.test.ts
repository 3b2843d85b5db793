import { createElection, createSchedule } from 'concordat/election'
import { currentLease } from 'concordat/locks'
import { memoryLocks } from 'concordat/memory'
import { afterEach, describe, expect, it } from 'vitest'
import type { ScheduledJob } from '../../support/inside/election.ts'
import { drain } from '../../support/locks/fake-clock.ts'
import { gate } from '../../support/until.ts'
import { closeAll, MIDNIGHT, MINUTE, open, recorder, setup } from '../support/jobs.ts'

afterEach(closeAll)

describe('a job', () => {
  it('runs at its ticks while its instance leads, with the term, the tick and a count', async () => {
    const { clock, node } = setup()
    const { job, runs, minutes } = recorder()
    const { election, schedule } = node([job])
    await clock.advance(3 * MINUTE)
    expect(minutes()).toEqual([1, 2, 3])
    expect(runs[2]).toMatchObject({ job: 'j', term: election.current(), run: 3 })
    expect(schedule.status()[0]).toMatchObject({ runs: 3, failures: 0, skipped: 0, nextAt: MIDNIGHT + 4 * MINUTE })
    expect(schedule.health()).toEqual({ status: 'up' })
  })

  it('does not run on an instance that does not lead, until it does', async () => {
    const { clock, node } = setup()
    const [first, second] = [recorder(), recorder()]
    const a = node([first.job])
    await drain()
    node([second.job])
    await clock.advance(2 * MINUTE)
    expect(second.runs).toEqual([])
    await a.election.close()
    await clock.advance(2 * MINUTE)
    expect([first.minutes(), second.minutes()]).toEqual([
      [1, 2],
      [3, 4],
    ])
    expect(second.runs[0]?.term.term).toBeGreaterThan(first.runs[0]?.term.term as number)
  })

  it('begins at once to wait for its ticks when its instance leads already', async () => {
    const { clock, node } = setup()
    const { election } = node([])
    await drain()
    const { job, minutes } = recorder()
    const late = createSchedule({ election, jobs: [job], clock })
    open.push(late)
    expect(late.health()).toEqual({ status: 'idle' })
    late.start()
    late.start()
    await clock.advance(MINUTE)
    expect(minutes()).toEqual([1])
  })

  it('follows a cron expression in its time zone', async () => {
    const { clock, node } = setup()
    const at: string[] = []
    node([
      {
        name: 'j',
        cron: '30 2 * * *',
        timeZone: 'Europe/Berlin',
        work: ({ scheduledAt }) => void at.push(new Date(scheduledAt).toISOString()),
      },
    ])
    await clock.advance(3 * 24 * 60 * MINUTE)
    expect(at).toEqual(['2026-11-20T01:30:00.000Z', '2026-11-21T01:30:00.000Z', '2026-11-22T01:30:00.000Z'])
  })

  it('runs under the lease of the role', async () => {
    const { clock, node } = setup()
    const seen: unknown[] = []
    const job = (name: string): ScheduledJob => ({
      name,
      everyMs: MINUTE,
      work: async ({ term }) => {
        await Promise.resolve()
        seen.push(currentLease()?.key, currentLease()?.token === term.term)
      },
    })
    node([job('a'), job('b')])
    await clock.advance(MINUTE)
    expect(seen).toEqual(['election/r', true, 'election/r', true])
  })

  it('waits longer than a timer can', async () => {
    const { clock, node } = setup()
    const { job, runs } = recorder({ everyMs: undefined, cron: '0 0 1 1 *' } as Partial<ScheduledJob>)
    const { schedule } = node([job])
    await drain()
    expect(schedule.status()[0]?.nextAt).toBe(Date.UTC(2027, 0, 1))
    clock.suspend(Date.UTC(2027, 0, 1) - MIDNIGHT - MINUTE)
    await clock.advance(2 * MINUTE)
    // The lease did not outlive that jump of the clock; the next term continues with the next tick.
    expect(runs.length).toBeLessThanOrEqual(1)
  })
})

describe('a tick that comes during a run', () => {
  it('is left out by default', async () => {
    const { clock, node } = setup()
    const { job, minutes, release } = recorder({}, true)
    const { schedule } = node([job])
    await clock.advance(3 * MINUTE)
    expect(minutes()).toEqual([1])
    expect(schedule.status()[0]).toMatchObject({ runningAt: MIDNIGHT + MINUTE, skipped: 2 })
    await release()
    expect(minutes()).toEqual([1])
    await clock.advance(MINUTE)
    expect(minutes()).toEqual([1, 4])
  })

  it('is queued by option, the newest one only', async () => {
    const { clock, node } = setup()
    const { job, minutes, release } = recorder({ overlap: 'queue' }, true)
    const { schedule } = node([job])
    await clock.advance(3 * MINUTE)
    await release()
    expect(minutes()).toEqual([1, 3])
    expect(schedule.status()[0]).toMatchObject({ skipped: 1 })
    await release()
    await clock.advance(MINUTE)
    expect(minutes()).toEqual([1, 3, 4])
  })

  it('a tick of another job is not kept waiting by a running one', async () => {
    const { clock, node } = setup()
    const [stuck, free] = [recorder({}, true), recorder({ name: 'k' })]
    node([stuck.job, free.job])
    await clock.advance(3 * MINUTE)
    expect(free.minutes()).toEqual([1, 2, 3])
  })
})

describe('the end of a term', () => {
  it('aborts what runs, awaits it, and only then the next leader begins', async () => {
    const { clock, node } = setup()
    const log: string[] = []
    const stop = gate()
    const a = node([
      {
        name: 'j',
        everyMs: MINUTE,
        work: async ({ signal }) => {
          log.push('a begins')
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          await stop.opened
          log.push('a ends')
        },
      },
    ])
    await drain()
    node([{ name: 'j', everyMs: MINUTE, work: () => void log.push('b runs') }])
    await clock.advance(MINUTE)
    const closing = a.election.close()
    await drain()
    expect(log).toEqual(['a begins'])
    stop.open()
    await closing
    await clock.advance(MINUTE)
    expect(log).toEqual(['a begins', 'a ends', 'b runs'])
    expect(a.schedule.status()[0]).toMatchObject({ runs: 1, failures: 0, nextAt: undefined })
  })

  it('by the clocks ends the runs before any signal has fired', async () => {
    const { clock, node } = setup()
    const [first, second] = [recorder(), recorder({ name: 'k' })]
    // The first job blocks the event loop for longer than the lease; the second one is due at the same moment.
    const block: ScheduledJob = {
      name: 'j',
      everyMs: MINUTE,
      work: (run) => {
        first.runs.push(run)
        clock.stall(11_000)
      },
    }
    const { election } = node([block, second.job])
    await drain()
    const term = election.current()?.term
    await clock.advance(MINUTE)
    expect(first.runs).toHaveLength(1)
    expect(second.runs.filter((run) => run.term.term === term)).toEqual([])
  })

  it('does not wait for a run that never returns, and the lease goes to the next', async () => {
    const { clock, node } = setup()
    const stuck = recorder({}, true)
    const a = node([stuck.job])
    await drain()
    const free = recorder()
    const b = node([free.job])
    await clock.advance(MINUTE)
    const closing = a.election.close()
    await clock.advance(600)
    await closing
    await drain()
    expect(b.election.current()).toBeDefined()
    await clock.advance(MINUTE)
    expect(free.minutes()).toEqual([2])
    await stuck.release()
  })
})

describe('a run that throws', () => {
  it('is reported, and ends neither the schedule nor the leadership', async () => {
    const { clock, node } = setup()
    const errors: unknown[] = []
    let runs = 0
    const { election, schedule } = node(
      [
        {
          name: 'j',
          everyMs: MINUTE,
          work: () => {
            if (++runs === 1) throw new Error('no')
          },
        },
      ],
      {
        onError: (error, run) => {
          errors.push(error.message, run.scheduledAt)
          throw new Error('a listener that throws')
        },
      },
    )
    await drain()
    const term = election.current()
    await clock.advance(MINUTE)
    expect(errors).toEqual(['no', MIDNIGHT + MINUTE])
    expect(schedule.health()).toEqual({ status: 'down', detail: 'job "j": no' })
    await clock.advance(MINUTE)
    expect(election.current()).toBe(term)
    expect(schedule.status()[0]).toMatchObject({ runs: 2, failures: 1, error: undefined })
    expect(schedule.health()).toEqual({ status: 'up' })
  })

  it('ends the term by option, also while another job runs', async () => {
    const { clock, node } = setup()
    const reasons: string[] = []
    const other = recorder({ name: 'k', everyMs: 20_000 }, true)
    const { election } = node([
      { name: 'j', everyMs: MINUTE, onFailure: 'resign', work: () => Promise.reject(new Error('no')) },
      other.job,
    ])
    election.subscribe((event) => reasons.push(event.type === 'revoked' ? event.reason : event.type))
    await clock.advance(MINUTE)
    expect(reasons).toEqual(['granted', 'failed'])
    expect(other.runs[0]?.signal.aborted).toBe(true)
    await other.release()
  })

  it('ends the term with onFailure: resign also when it was the last tick of all', async () => {
    const { clock, node } = setup()
    const reasons: string[] = []
    const work = () => Promise.reject(new Error('no'))
    const { election } = node([{ name: 'j', cron: '0 1 0 20 11 * 2026', onFailure: 'resign', work }])
    election.subscribe((event) => reasons.push(event.type === 'revoked' ? event.reason : event.type))
    await clock.advance(MINUTE)
    expect(reasons).toEqual(['granted', 'failed'])
  })

  it('that hangs without a time limit shows in the detail of health once it has left out several ticks', async () => {
    const { clock, node } = setup()
    const hanging = recorder({}, true)
    const { schedule } = node([hanging.job])
    await clock.advance(3 * MINUTE)
    expect(schedule.health()).toEqual({ status: 'up' })
    await clock.advance(MINUTE)
    const detail = 'a run of job "j" has not returned since 3 ticks; give the job a timeoutMs to be told of it'
    expect(schedule.health()).toEqual({ status: 'up', detail })
    await hanging.release()
    expect(schedule.health()).toEqual({ status: 'up' })
  })

  it('for too long is aborted after timeoutMs, and has no successor until it returns', async () => {
    const { clock, node } = setup()
    const slow = recorder({ timeoutMs: 5_000 }, true)
    const { schedule } = node([slow.job])
    await clock.advance(MINUTE + 4_999)
    expect(slow.runs[0]?.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(slow.runs[0]?.signal.reason).toMatchObject({ code: 'election.job_timeout', job: 'j', timeoutMs: 5_000 })
    expect(schedule.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('has not returned') })
    await clock.advance(3 * MINUTE)
    expect(slow.runs).toHaveLength(1)
    await slow.release()
    await clock.advance(MINUTE)
    expect(slow.runs).toHaveLength(2)
  })
})

describe('closing a schedule', () => {
  it('aborts its runs, awaits them, and leaves the leadership', async () => {
    const { clock, node } = setup()
    const { job, runs, release } = recorder({}, true)
    const { election, schedule } = node([job])
    await clock.advance(MINUTE)
    let isClosed = false
    const closing = schedule.close().then(() => {
      isClosed = true
    })
    await drain()
    expect(runs[0]?.signal.aborted).toBe(true)
    expect(isClosed).toBe(false)
    await release()
    await closing
    await clock.advance(3 * MINUTE)
    expect(runs).toHaveLength(1)
    expect(election.current()).toBeDefined()
    expect(schedule.health()).toEqual({ status: 'closed' })
  })

  it('from inside a run resolves at once, for it does not wait for that run', async () => {
    const { clock, node } = setup()
    const log: string[] = []
    const deep = async (): Promise<void> => {
      await Promise.resolve()
      await schedule.close()
    }
    const closer: ScheduledJob = {
      name: 'closer',
      everyMs: MINUTE,
      work: async ({ signal }) => {
        await deep()
        log.push(`closed, aborted: ${signal.aborted}`)
      },
    }
    const { schedule } = node([closer])
    await clock.advance(MINUTE)
    expect(log).toEqual(['closed, aborted: true'])
    expect(schedule.status()[0]).toMatchObject({ runs: 1, runningAt: undefined })
  })

  it('from inside a run waits for the runs of other jobs', async () => {
    const { clock, node } = setup()
    const other = recorder({ name: 'other' }, true)
    let isClosed = false
    const closer: ScheduledJob = {
      name: 'closer',
      everyMs: MINUTE,
      work: async () => {
        await schedule.close()
        isClosed = true
      },
    }
    const { schedule } = node([other.job, closer])
    await clock.advance(MINUTE)
    expect(isClosed).toBe(false)
    await other.release()
    expect(isClosed).toBe(true)
  })

  it('is no longer than stopGraceMs', async () => {
    const { clock, node } = setup()
    const { job, release } = recorder({}, true)
    const { schedule } = node([job])
    await clock.advance(MINUTE)
    const closing = schedule.close()
    await clock.advance(500)
    await closing
    await release()
  })
})

describe('a mistake', () => {
  const election = createElection({ locks: memoryLocks(), role: 'r' })
  const work = (): void => {}
  const js = (value: unknown): never => value as never
  it.for([
    ['an unknown option', { job: [] }, 'Did you mean "jobs"?'],
    ['no election', { election: {} }, 'createSchedule.election: expected what createElection returned'],
    ['jobs that are no list', { jobs: {} }, 'createSchedule.jobs: expected a list of jobs'],
    ['a record that is no function', { jobs: [], lastTick: 5 }, 'createSchedule.lastTick: expected a function'],
    ['an unknown option of a job', { jobs: [{ name: 'j', every: 5, work }] }, 'Did you mean "everyMs"?'],
    ['a job without a name', { jobs: [{ everyMs: 50, work }] }, 'createSchedule.jobs[0].name'],
    ['a job without work', { jobs: [{ name: 'j', everyMs: 50 }] }, 'job("j").work: expected a function'],
    ['a job without times', { jobs: [{ name: 'j', work }] }, 'job("j"): expected either everyMs or cron, got neither'],
    ['a job with both', { jobs: [{ name: 'j', everyMs: 50, cron: '* * * * *', work }] }, 'got both'],
    ['too many runs', { jobs: [{ name: 'j', everyMs: 5, work }] }, 'job("j").everyMs: expected a whole number >= 10'],
    ['a time zone of a period', { jobs: [{ name: 'j', everyMs: 50, timeZone: 'UTC', work }] }, 'job("j").timeZone'],
    ['a wrong cron', { jobs: [{ name: 'j', cron: '61 * * * *', work }] }, 'got "61 * * * *"'],
    ['a wrong overlap', { jobs: [{ name: 'j', everyMs: 50, overlap: 'stop', work }] }, "expected 'skip' or 'queue'"],
    [
      'a name twice',
      {
        jobs: [
          { name: 'j', everyMs: 50, work },
          { name: 'j', everyMs: 60, work },
        ],
      },
      'a name of its own',
    ],
  ] as const)('such as %s is refused', ([, options, message]) => {
    expect(() => createSchedule(js({ election, jobs: [], ...options }))).toThrow(message)
  })
})

describe('the health of a leader that led before', () => {
  it('ignores a run that failed in an earlier term', async () => {
    const { clock, node } = setup()
    let fails = true
    const work = (): void => {
      if (fails) throw new Error('failed once')
    }
    const a = node([{ name: 'j', everyMs: MINUTE, work }])
    await drain()
    const b = node([{ name: 'j', everyMs: MINUTE, work }])
    await clock.advance(MINUTE)
    expect(a.schedule.health()).toMatchObject({ status: 'down' })
    fails = false
    await a.election.resign()
    await drain()
    await clock.advance(MINUTE)
    expect(b.schedule.status()[0]).toMatchObject({ runs: 1, failures: 0 })
    await b.election.close()
    await drain()
    expect(a.election.status().term).toBeDefined()
    expect(a.schedule.health()).toEqual({ status: 'up' })
  })
})
