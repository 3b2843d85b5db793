/**
 * Workers that contend for the same locks, in PostgreSQL and in the lock server: counters behind a fence, one guarded at its
 * commit, a pool with two permits, a book with readers and writers. Some keep a lease until its end. The times at which each
 * relies on a lease are recorded.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { type Clock, type SqlClient, type SqlTransaction, systemClock } from 'concordat/core'
import { createFence, type Lease, type Locks } from 'concordat/locks'
import { type PostgresLocks, postgresLocks } from 'concordat/postgres'
import type { AcquireOptions, LocksOptions } from '../../support/inside/locks.ts'
import { override } from '../planted.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const WORKERS = 3
const TTL_MS = 1_500
/** Longest wait: no worker gives up, so a worker that waits that long was forgotten. */
const WAIT_MS = 600_000
const STEP_MS = 100
const PAUSE_MS = 600
/** Probability that a holder does not renew, and keeps writing. */
const HOLDS_ON = 0.1
/** Time in which each worker gets each lock once more, after the last fault. */
const SERVED_WITHIN_MS = 30_000
const PERMITS = 2

/** A worker's belief that it held a key, from one moment of the world to another. */
interface Belief {
  readonly who: string
  readonly key: string
  readonly token: number
  readonly room: number
  readonly fromMs: number
  untilMs: number
}

/** Beliefs of a history's workers, and the number of grants of each. */
class Book {
  readonly beliefs: Belief[] = []
  readonly served = new Map<string, number>()

  clear(): void {
    this.beliefs.length = 0
    this.served.clear()
  }
}

/** A worker's repeated work with one lock. */
interface Job {
  readonly key: string
  /** Number of holders allowed at the same time, by the options; any number of readers. */
  readonly room: number
  readonly options: AcquireOptions
  readonly once: (wish: AcquireOptions, work: (lease: Lease) => Promise<void>) => Promise<void>
  readonly work: (lease: Lease, steps: () => Promise<void>) => Promise<void>
}

async function startWorker(instance: SimulatedInstance, book: Book, broken: string | undefined): Promise<void> {
  const sql = instance.sql('desk')
  const inMemory = instance.locks(broken === 'lost-wake-up' ? { clock: neverAgain } : {})
  for (const job of jobsOf(instance, sql, inMemory, broken)) void goOn(instance, job, book)
}

function jobsOf(
  instance: SimulatedInstance,
  sql: SqlClient,
  inMemory: Locks,
  broken: string | undefined,
): readonly Job[] {
  const { name, logger } = instance
  const inDatabase = (): PostgresLocks => {
    const options = broken === 'expiry-from-the-end' ? fromTheEnd(sql) : { sql }
    return postgresLocks({ ...options, owner: name, logger })
  }
  const exclusive = { room: 1, options: {} }
  const [till, pool, paper, guarded] = [inDatabase(), inDatabase(), inDatabase(), inDatabase()]
  const writes = Math.random() < 0.5
  return [
    { ...exclusive, ...using(inMemory, 'desk'), work: (lease, steps) => countFenced(sql, lease, steps) },
    { ...exclusive, ...using(till, 'till'), work: (lease, steps) => countFenced(sql, lease, steps) },
    { ...using(pool, 'pool'), room: PERMITS, options: { permits: PERMITS }, work: (_, steps) => steps() },
    {
      ...using(paper, 'paper'),
      room: writes ? 1 : Number.POSITIVE_INFINITY,
      options: { mode: writes ? 'exclusive' : 'shared' },
      work: (_, steps) => steps(),
    },
    { ...exclusive, ...guardedBy(guarded, 'guarded'), work: (_, steps) => steps() },
  ]
}

const using = (locks: Locks, key: string): Pick<Job, 'key' | 'once'> => ({
  key,
  once: (wish, work) => locks.using(key, wish, work),
})

/** The commit is the check, so it counts in the transaction itself. */
const guardedBy = (locks: PostgresLocks, key: string): Pick<Job, 'key' | 'once'> => ({
  key,
  once: (wish, work) =>
    locks.transaction(key, wish, async (tx, lease) => {
      await work(lease)
      await count(tx, key, (await lastOf(tx, key)) + 1, lease.token)
    }),
})

async function goOn(instance: SimulatedInstance, job: Job, book: Book): Promise<void> {
  const name = `${instance.name} ${job.key}`
  for (;;) {
    const holdsOn = Math.random() < HOLDS_ON
    const wish = { ttlMs: TTL_MS, waitMs: WAIT_MS, ...job.options, ...(holdsOn && { maxHoldMs: 0 }) }
    try {
      await job.once(wish, async (lease) => {
        book.served.set(name, (book.served.get(name) ?? 0) + 1)
        await job.work(lease, () => believe(instance, job, lease, { book, holdsOn }))
      })
    } catch (error) {
      instance.note(`${job.key}: ${error instanceof Error ? error.message : String(error)}`)
    }
    await sleep(PAUSE_MS * (0.5 + Math.random()))
  }
}

interface Believing {
  readonly book: Book
  readonly holdsOn: boolean
}

/** Checks repeatedly that it holds the key, like a writer to a resource that cannot fence. @throws `locks.lost` */
async function believe({ name }: SimulatedInstance, { key, room }: Job, lease: Lease, how: Believing): Promise<void> {
  const nowMs = (): number => performance.now()
  lease.assertValid()
  const belief: Belief = { who: name, key, token: lease.token, room, fromMs: nowMs(), untilMs: nowMs() }
  how.book.beliefs.push(belief)
  const steps = how.holdsOn ? (2 * TTL_MS) / STEP_MS : 1 + Math.floor(4 * Math.random())
  for (let step = 0; step < steps; step++) {
    await sleep(STEP_MS)
    lease.assertValid()
    belief.untilMs = nowMs()
  }
}

/** Registers the new holder at the fence before it reads: no earlier holder writes after that. */
async function countFenced(sql: SqlClient, { key, token }: Lease, steps: () => Promise<void>): Promise<void> {
  const fence = createFence({ sql })
  const n = await sql.transaction(async (tx) => {
    await fence.check(tx, key, token)
    return lastOf(tx, key)
  })
  await steps()
  await sql.transaction(async (tx) => {
    await fence.check(tx, key, token)
    await count(tx, key, n + 1, token)
  })
}

async function lastOf(tx: SqlTransaction, key: string): Promise<number> {
  const { rows } = await tx.query<{ n: number }>('SELECT coalesce(max(n), 0)::int AS n FROM counted WHERE key = $1', [
    key,
  ])
  return rows[0]?.n ?? 0
}

const count = (tx: SqlTransaction, key: string, n: number, token: number): Promise<unknown> =>
  tx.query('INSERT INTO counted (key, n, token) VALUES ($1, $2, $3)', [key, n, token])

const sleep = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))

/** Waits until each worker has had each lock once more. */
async function requireServed(world: SimulatedWorld, book: Book): Promise<void> {
  const before = new Map(book.served)
  const names = Array.from({ length: WORKERS }, (_, n) => KEYS.map((key) => `worker-${n + 1} ${key}`)).flat()
  const untilMs = world.elapsedMs + SERVED_WITHIN_MS
  for (;;) {
    const late = names.filter((name) => (book.served.get(name) ?? 0) <= (before.get(name) ?? 0))
    if (late.length === 0) return
    if (world.elapsedMs > untilMs) throw new Error(`within ${SERVED_WITHIN_MS} ms nothing came to ${late.join(', ')}`)
    await world.sleep(500)
  }
}

/** The lock server forgets, so of its locks the fence alone is certain. */
const UNCERTAIN = 'desk'
const KEYS = ['desk', 'till', 'pool', 'paper', 'guarded']

/** Requires that no more workers believe to hold a key than its mode allows. */
function requireRoom({ beliefs }: Book): void {
  for (const belief of beliefs) {
    if (belief.key === UNCERTAIN) continue
    const others = beliefs.filter(
      ({ key, token, fromMs, untilMs }) =>
        key === belief.key && token !== belief.token && fromMs < belief.fromMs && untilMs > belief.fromMs,
    )
    const room = Math.min(belief.room, ...others.map((other) => other.room))
    if (others.length >= room) {
      const all = [belief, ...others].map(({ who, token }) => `${who} (${token})`)
      throw new Error(`${belief.key}, with room for ${room}, was held by ${all.join(', ')} at once`)
    }
  }
}

/** Requires that each holder read its predecessor's value, and that tokens rise. */
async function requireCounts({ client }: SimulatedWorld): Promise<void> {
  const { rows } = await client
    .sql('desk')
    .query<{ key: string; n: number; token: string }>('SELECT key, n, token::text AS token FROM counted ORDER BY seq')
  const last = new Map<string, { readonly n: number; readonly token: number }>()
  for (const { key, n, token } of rows) {
    const before = last.get(key) ?? { n: 0, token: 0 }
    if (n !== before.n + 1) throw new Error(`${key}: count ${n} came after ${before.n}`)
    if (Number(token) <= before.token) throw new Error(`${key}: token ${token} was accepted after ${before.token}`)
    last.set(key, { n, token: Number(token) })
  }
}

async function prepare(sql: SqlClient): Promise<void> {
  await postgresLocks({ sql }).migrate()
  await createFence({ sql }).migrate()
  await sql.query(
    'CREATE TABLE IF NOT EXISTS counted (seq bigserial PRIMARY KEY, key text NOT NULL, n int NOT NULL, token bigint NOT NULL)',
  )
}

/** Clock for waiters that only a notification wakes: their pauses have no end of their own. */
const neverAgain: Clock = {
  ...systemClock,
  sleep: (durationMs, signal) =>
    systemClock.sleep(signal === undefined ? durationMs : Number.POSITIVE_INFINITY, signal),
}

/** While a step of a lock is under way its time does not count, so a lease begins with the answer. */
function fromTheEnd(sql: SqlClient): { readonly sql: SqlClient } & Pick<LocksOptions, 'clock'> {
  let uncountedMs = 0
  return {
    sql: override(sql, {
      query: async (text, parameters) => {
        const askedAtMs = performance.now()
        try {
          return await sql.query(text, parameters)
        } finally {
          if (/lock_(acquire|extend)/.test(text)) uncountedMs += performance.now() - askedAtMs
        }
      },
    }),
    clock: {
      ...systemClock,
      now: () => systemClock.now() - uncountedMs,
      monotonic: () => systemClock.monotonic() - uncountedMs,
    },
  }
}

const book = new Book()

export const leases: Workload = {
  about:
    'locks of PostgreSQL and of the lock server under contention: fenced and guarded writes, permits, readers, expiry',
  mistakes: {
    'expiry-from-the-end': 'a lease is counted from when the answer came, and not from when it was asked for',
    'lost-wake-up': 'a waiter whose wake-up was lost never looks again',
  },
  databases: ['desk'],
  size: 3,
  options: (setting: Setting) => ({
    services: {
      worker: { instances: WORKERS, start: (instance) => startWorker(instance, book, setting.broken) },
    },
    databases: { desk: { ...databaseOf(setting, 'desk'), prepare } },
    workload: async (world) => {
      book.clear()
      await world.sleep(world.size * 1_500 + world.between(0, 2_000))
    },
    invariants: {
      'everybody is served': (world) => requireServed(world, book),
      'there is room for each': () => requireRoom(book),
      'no count is lost': requireCounts,
    },
  }),
}
