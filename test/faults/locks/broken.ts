/** Locks with a built-in mistake, made by wrapping the factory's arguments: the product has no switch for it. */
import { type Clock, systemClock } from 'concordat/core'
import type { Lease, Locks } from 'concordat/locks'
import { Redis } from 'ioredis'
import pg from 'pg'
import { isPostgres, type OpenOptions } from '../store/open.ts'

type Call = (...args: never[]) => Promise<unknown>

/** Options for a worker's locks, by the name of the mistake. */
export const MISTAKES: Readonly<Record<string, (url: string) => Partial<OpenOptions>>> = {
  'late-deadline': lateDeadline,
}

/**
 * `late-deadline`: the validity is counted from the end of the winning request. A clock that leaves out the time in which
 * an answered request was under way does just that.
 */
function lateDeadline(url: string): Partial<OpenOptions> {
  let leftOutMs = 0
  const timed = async <T>(work: () => Promise<T>): Promise<T> => {
    const begun = performance.now()
    const reply = await work()
    leftOutMs += performance.now() - begun
    return reply
  }
  const clock: Clock = {
    now: () => systemClock.now() - leftOutMs,
    monotonic: () => systemClock.monotonic() - leftOutMs,
    sleep: (durationMs, signal) => systemClock.sleep(durationMs, signal),
    setTimer: (durationMs, callback) => systemClock.setTimer(durationMs, callback),
  }
  if (isPostgres(url)) {
    return { clock, wrap: (sql) => ({ ...sql, query: (...args) => timed(() => sql.query(...args)) as never }) }
  }
  return { clock, client: timedClient(url, timed) }
}

function timedClient(url: string, timed: <T>(work: () => Promise<T>) => Promise<T>): Redis {
  const client = new Redis(url, { lazyConnect: true })
  const duplicate = client.duplicate.bind(client)
  client.duplicate = (override) => {
    const connection = duplicate(override)
    for (const name of ['evalsha', 'eval'] as const) {
      const call = connection[name].bind(connection) as Call
      Object.defineProperty(connection, name, { value: (...args: never[]) => timed(() => call(...args)) })
    }
    return connection
  }
  return client
}

/**
 * `release-without-check`: deletes the lock, whatever its holder. Only for a lease that is over: while it is held both
 * do the same.
 */
export async function releaseWithoutCheck(
  url: string,
  prefix: string,
  lease: Lease,
  locks: Locks,
): Promise<'released'> {
  try {
    await (isPostgres(url) ? freeInPostgres(url, lease.key) : freeInRedis(url, `${prefix}{${lease.key}}`))
  } finally {
    await lease.release()
  }
  // Wakes the next in line, as a release does.
  const free = await locks.tryAcquire(lease.key, { ttlMs: 1_000 })
  await free?.release()
  return 'released'
}

async function freeInRedis(url: string, key: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.del(key)
  } finally {
    client.disconnect()
  }
}

async function freeInPostgres(url: string, key: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('UPDATE concordat.lock_key SET value = NULL WHERE key = $1', [key])
  } finally {
    await client.end()
  }
}
