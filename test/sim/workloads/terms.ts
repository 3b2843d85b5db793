/**
 * Parts beside a lock or a term: watches that continue after a version, a scheduled job, a binder started under a lock,
 * a guard column.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createSharedState, type SharedState } from 'concordat/cluster'
import type { SqlClient } from 'concordat/core'
import { hasCode } from 'concordat/core'
import { createElection, createSchedule } from 'concordat/election'
import { currentLease, fencedUpdate } from 'concordat/locks'
import { z } from 'zod'
import { persist } from '../persist.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const calls = defineChannel('calls', { payload: z.object({ n: z.number().int() }), groups: ['clerk'], partitions: 1 })
const TTL_MS = 2_000
const RETRY = { maxAttempts: 1_000, backoff: { initialMs: 50, maxMs: 500 } }
type State = SharedState<unknown>

class Known {
  /** Changes that a watch reported twice, or in the wrong order. */
  readonly late: string[] = []
  /** Locks in which a handler found itself. */
  readonly leases = new Set<string>()
  readonly handled = new Set<number>()
  runs = 0
  /** Questions that are never answered. */
  hangs = 3
  stale: 'refused' | 'written' | undefined
}
let known = new Known()

const sleep = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))
const stateOf = ({ logger, ...instance }: SimulatedInstance): State =>
  createSharedState({ store: instance.clusterStore(), name: 'rules', logger })

/** Watches again and again after the last version it has seen. */
async function watch(instance: SimulatedInstance): Promise<void> {
  const state = stateOf(instance)
  await state.mirror()
  for (let last = 0; ; ) {
    const watching = state.watch(
      (event) => {
        if (event.type === 'change' && event.version <= last)
          known.late.push(`${instance.name} heard ${event.version} after ${last}`)
        last = event.version
      },
      { after: last },
    )
    await sleep(100 + 200 * Math.random())
    watching.stop()
  }
}

function startJobs({ name, generation, logger, ...instance }: SimulatedInstance): void {
  const locks = instance.locks()
  const election = createElection({ locks, role: 'clerk', instance: `${name}/${generation}`, ttlMs: TTL_MS, logger })
  const schedule = createSchedule({
    election,
    logger,
    lastTick: () => (known.hangs-- > 0 ? new Promise<undefined>(() => {}) : undefined),
    jobs: [{ name: 'count', everyMs: 1_000, work: () => void known.runs++ }],
  })
  schedule.start()
  election.start()
}

/** Starts a binder that outlives the lock in which it was started. */
async function startBinder({ name, transport, logger, ...instance }: SimulatedInstance): Promise<void> {
  const handle = sink(calls, { group: 'clerk', ...RETRY }, ({ n }) => {
    const lease = currentLease()
    if (lease !== undefined) known.leases.add(lease.key)
    known.handled.add(n)
  })
  const binder = createBinder({ service: 'clerk', instance: name, transport, logger, bindings: [handle] })
  await instance.locks().using(`begin/${name}`, { ttlMs: TTL_MS, waitMs: 30_000 }, () => binder.start())
}

async function startClerk(instance: SimulatedInstance): Promise<void> {
  startJobs(instance)
  void watch(instance).catch((error: Error) => instance.note(`watches no more: ${error.message}`))
  await startBinder(instance)
}

/** Writes with the lease of an early holder after the present one. */
async function writeLate(world: SimulatedWorld): Promise<void> {
  const sql = world.client.sql('office')
  const locks = world.client.locks()
  const token = (): Promise<number> =>
    persist(world, () => locks.using('desk', { ttlMs: TTL_MS }, ({ token }) => token))
  const write = async (v: number, token: number): Promise<'refused' | 'written'> => {
    const update = { table: 'desk', set: 'v = $1 -- the new value', where: 'true -- the only row', values: [v], token }
    try {
      await fencedUpdate(sql, update)
      return 'written'
    } catch (error) {
      if (hasCode(error, 'locks.fence_rejected')) return 'refused'
      throw error
    }
  }
  const [first, second] = [await token(), await token()]
  await persist(world, () => write(2, second))
  known.stale = await persist(world, () => write(1, first))
}

async function rule(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const { client } = world
  const { transport, logger } = client
  const state = stateOf(client)
  const binder = createBinder({ service: 'client', transport, logger, sends: [calls] })
  await persist(world, () => binder.start())
  for (let n = 1; n <= world.size * 5; n++) {
    await persist(world, () => state.put('rule', { n }))
    await world.sleep(world.between(0, 100))
    if (n % 5 === 0) await persist(world, () => binder.send(calls, { n }))
  }
  await writeLate(world)
}

function isSettled({ size }: SimulatedWorld): boolean {
  return known.runs > 0 && known.handled.size === size
}

function requireRising(): void {
  if (known.late.length > 0) throw new Error(known.late.join(', '))
}

function requireNoLeases(): void {
  if (known.leases.size > 0) throw new Error(`a handler ran under the lock ${[...known.leases].join(', ')}`)
}

function requireRefused(): void {
  if (known.stale !== 'refused') throw new Error('a stale token wrote')
}

async function prepare(sql: SqlClient): Promise<void> {
  await sql.query('CREATE TABLE IF NOT EXISTS desk (v int, fence bigint)')
  await sql.query('INSERT INTO desk SELECT 0 WHERE NOT EXISTS (SELECT FROM desk)')
}

export const terms: Workload = {
  about:
    'watches that go on, a scheduled job, a binder begun under a lock, a guard column: versions and tokens rise, the job runs',
  mistakes: {},
  databases: ['office'],
  size: 4,
  options: (setting: Setting) => ({
    services: { clerk: { start: startClerk } },
    databases: { office: { ...databaseOf(setting, 'office'), prepare } },
    workload: rule,
    settled: isSettled,
    invariants: {
      'versions rise': requireRising,
      'no lock of who began it': requireNoLeases,
      'a stale token is refused': requireRefused,
    },
  }),
}
