/**
 * Ways to wait for a lock, over connections of their own: this package, and the lock libraries of npm with their
 * defaults.
 */
import { randomUUID } from 'node:crypto'
import { redisLocks } from 'concordat/redis'
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

const TAKE_OR_WAIT = `
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('RPUSH', KEYS[2], ARGV[1]) * 0 end
return redis.call('INCR', KEYS[3])
`
const GIVE_TO_NEXT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local next = redis.call('LPOP', KEYS[2])
if not next then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], next, 'PX', ARGV[2])
return redis.call('PUBLISH', next, redis.call('INCR', KEYS[3]))
`

/**
 * Minimal lock with a queue and a token: a list, and a message to its first waiter, who then has the lock. A waiter
 * that dies blocks all behind it for the whole ttl, and a waiter that gives up still gets the lock.
 */
export const bareLine: WaiterKind = {
  name: 'bare ioredis, a list and PUBLISH, with a token',
  direct: SCRIPTS,
  make: (url, prefix) => {
    const me = randomUUID()
    const [client, subscriber] = [new Redis(url), new Redis(url)]
    const ready = Promise.all([
      client.script('LOAD', TAKE_OR_WAIT),
      client.script('LOAD', GIVE_TO_NEXT),
      subscriber.subscribe(me),
    ])
    let onTurn = (): void => {}
    subscriber.on('message', () => onTurn())
    return {
      take: async (key) => {
        const [take, give] = await ready
        const keys = ['', ':line', ':token'].map((end) => `${prefix}bare:${key}${end}`)
        const turn = new Promise<void>((resolve) => {
          onTurn = resolve
        })
        if ((await client.evalsha(String(take), 3, ...keys, me, TTL_MS)) === 0) await turn
        return () => client.evalsha(String(give), 3, ...keys, me, TTL_MS)
      },
      close: async () => {
        await Promise.all([quit(client), quit(subscriber)])
      },
    }
  },
}

/** Retries without limit, otherwise with its defaults: every 200 ms, 100 more or less. */
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

/** Waits without limit, otherwise with its defaults: every 10 ms. */
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
