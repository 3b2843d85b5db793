import { createMembership, createSharedState } from 'concordat/cluster'
import { createElection, createSchedule } from 'concordat/election'
import { memoryLocks, memoryStateStore } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import type { ElectionOptions } from '../support/inside/election.ts'
import { until } from '../support/until.ts'

/** Misbehaviour of a user's function; an unhandled rejection would fail the run. */
const MISBEHAVES: Readonly<Record<string, () => unknown>> = {
  'throws an error': () => {
    throw new Error('of the user')
  },
  'throws null': () => {
    throw null as unknown as Error
  },
  rejects: () => Promise.reject(new Error('of the user')),
  'returns something else': () => 42,
}

it.each(Object.entries(MISBEHAVES))('a logger, listener or watcher that %s stalls nothing', async (_what, call) => {
  const misbehaving = call as () => void
  const logger = { debug: misbehaving, info: misbehaving, warn: misbehaving, error: misbehaving }
  const locks = memoryLocks({ logger })
  const store = memoryStateStore()
  const options: ElectionOptions = { locks, role: 'r', logger, onRevoked: misbehaving }
  const election = createElection(options)
  const seen: unknown[] = []
  let runs = 0
  const jobs = [{ name: 'j', everyMs: 10, work: () => void runs++ }]
  const schedule = createSchedule({ election, jobs, logger, onError: misbehaving })
  const member = createMembership({ store, cluster: 'c', service: 's', logger })
  const state = createSharedState<number>({ store, name: 'n', logger })
  onTestFinished(async () => {
    await Promise.all([schedule.close(), member.close(), state.close()])
    await election.close()
    await Promise.all([locks.close(), store.close()])
  })
  member.subscribe(misbehaving)
  member.watch(misbehaving)
  state.watch(misbehaving)
  state.watch((event) => void seen.push(event.type))
  election.subscribe(misbehaving)
  schedule.start()
  election.start()
  await member.join()
  await until('the job runs', () => runs > 1)
  await election.resign()
  await until('it leads again', () => election.current() !== undefined)
  for (let n = 1; n <= 3; n++) await state.put('k', n)
  await until('all is told', () => seen.filter((type) => type === 'change').length === 3)
  expect(member.members()).toHaveLength(1)
  expect([election.health().status, schedule.health().status, member.health().status]).toEqual(['up', 'up', 'up'])
})
