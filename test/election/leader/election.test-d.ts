import { createElection, createObserver, createSchedule, type Election, type Term } from 'concordat/election'
import { type Locks, leaseHeaders } from 'concordat/locks'
import { expectTypeOf, test } from 'vitest'
import type { ScheduledJob } from '../../support/inside/election.ts'
import type { LeaseToken } from '../../support/inside/locks.ts'

declare const locks: Locks
declare const election: Election
declare const term: Term
const work = (): void => {}

test('a job has a period or a cron expression, not both, and a time zone only with the latter', () => {
  expectTypeOf({ name: 'j', everyMs: 1_000, work }).toExtend<ScheduledJob>()
  expectTypeOf({ name: 'j', cron: '@daily', timeZone: 'UTC', work }).toExtend<ScheduledJob>()
  // @ts-expect-error -- both
  createSchedule({ election, jobs: [{ name: 'j', everyMs: 1_000, cron: '@daily', work }] })
  // @ts-expect-error -- neither
  createSchedule({ election, jobs: [{ name: 'j', work }] })
  // @ts-expect-error -- a period has no time zone
  createSchedule({ election, jobs: [{ name: 'j', everyMs: 1_000, timeZone: 'UTC', work }] })
})

test('a term fits a fence and leaseHeaders', () => {
  expectTypeOf(term).toExtend<LeaseToken>()
  expectTypeOf(leaseHeaders(term)).toEqualTypeOf<Readonly<Record<string, string>>>()
})

test('an observer needs only the read methods of the locks', () => {
  createObserver({ locks: { inspect: (key) => locks.inspect(key) }, role: 'r' })
  // @ts-expect-error -- a candidate needs to acquire
  createElection({ locks: { inspect: (key) => locks.inspect(key) }, role: 'r' })
})
