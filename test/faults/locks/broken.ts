/** Locks with a mistake built in, by wrapping what the factory takes: the product has no switch for it. */
import { type Clock, systemClock } from 'concordat/core'
import type { Lease, Locks } from 'concordat/locks'
import { Redis } from 'ioredis'

type Call = (...args: never[]) => Promise<unknown>

/**
 * `late-deadline`: the validity is counted from the end of the winning request. A clock that leaves out the time in which
 * an answered request was under way does just that.
 */
export function lateDeadline(url: string): { readonly client: Redis; readonly clock: Clock } {
  let leftOutMs = 0
  const client = new Redis(url, { lazyConnect: true })
  const duplicate = client.duplicate.bind(client)
  client.duplicate = (override) => {
    const connection = duplicate(override)
    for (const name of ['evalsha', 'eval'] as const) {
      const call = connection[name].bind(connection) as Call
      const timed = async (...args: never[]): Promise<unknown> => {
        const begun = performance.now()
        const reply = await call(...args)
        leftOutMs += performance.now() - begun
        return reply
      }
      Object.defineProperty(connection, name, { value: timed })
    }
    return connection
  }
  const clock: Clock = {
    now: () => systemClock.now() - leftOutMs,
    monotonic: () => systemClock.monotonic() - leftOutMs,
    sleep: (durationMs, signal) => systemClock.sleep(durationMs, signal),
    setTimer: (durationMs, callback) => systemClock.setTimer(durationMs, callback),
  }
  return { client, clock }
}

/**
 * `release-without-check`: deletes the lock, whoever holds it. Only for a lease that is over: as long as it is held both
 * do the same.
 */
export async function releaseWithoutCheck(
  url: string,
  prefix: string,
  lease: Lease,
  locks: Locks,
): Promise<'released'> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.del(`${prefix}{${lease.key}}`)
  } finally {
    client.disconnect()
    await lease.release()
  }
  // Wakes the next in line, as a release does.
  const free = await locks.tryAcquire(lease.key, { ttlMs: 1_000 })
  await free?.release()
  return 'released'
}
