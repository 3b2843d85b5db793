/** Who waits for a lock, over connections of its own: this package, and the lock libraries of npm with their defaults. */
import { redisLocks } from 'concordat/locks/redis'
import { Redis } from 'ioredis'
import { Mutex } from 'redis-semaphore'
import { makeRedlock, quit, TTL_MS } from './sides.ts'

export interface Waiter {
  /** Waits until it has the lock; resolves with the way to give it back. */
  take(key: string): Promise<() => Promise<unknown>>
  close(): Promise<void>
}

export interface WaiterKind {
  readonly name: string
  /** The commands it sends; all others are run by its scripts. */
  readonly direct: readonly string[]
  readonly make: (url: string, prefix: string, heartbeatMs?: number) => Waiter
}

const SCRIPTS = ['evalsha', 'eval', 'subscribe', 'ping'] as const

export const concordat: WaiterKind = {
  name: 'concordat',
  direct: SCRIPTS,
  make: (url, prefix, heartbeatMs) => {
    const locks = redisLocks({ url, prefix: `${prefix}ours:`, heartbeatMs })
    return {
      take: async (key) => {
        const lease = await locks.acquire(key, { ttlMs: TTL_MS, waitMs: Number.POSITIVE_INFINITY })
        return () => lease.release()
      },
      close: () => locks.close(),
    }
  },
}

/** Retries forever, else as it comes: every 200 ms, 100 more or less. */
export const redlock: WaiterKind = {
  name: 'redlock',
  direct: SCRIPTS,
  make: (url, prefix) => {
    const client = new Redis(url)
    const locks = makeRedlock([client], { retryCount: -1 })
    return {
      take: async (key) => {
        const lock = await locks.acquire([`${prefix}redlock:${key}`], TTL_MS)
        return () => lock.release()
      },
      close: () => quit(client),
    }
  },
}

/** Waits forever, else as it comes: every 10 ms. */
export const redisSemaphore: WaiterKind = {
  name: 'redis-semaphore',
  direct: [...SCRIPTS, 'set'],
  make: (url, prefix) => {
    const client = new Redis(url)
    return {
      take: async (key) => {
        const acquireTimeout = Number.POSITIVE_INFINITY
        const mutex = new Mutex(client, `${prefix}${key}`, { lockTimeout: TTL_MS, acquireTimeout })
        await mutex.acquire()
        return () => mutex.release()
      },
      close: () => quit(client),
    }
  },
}
