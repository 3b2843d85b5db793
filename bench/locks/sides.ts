/**
 * Ways to lock on Redis: this package, ioredis by hand, and the lock libraries of npm, each as its documentation shows
 * it.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { Mutex } from 'redis-semaphore'

export const TTL_MS = 10_000

/** A way to lock, over connections of its own. */
export interface Side {
  readonly name: string
  /** Acquires a free lock and releases it. */
  pair(key: string): Promise<unknown>
  close(): Promise<void>
}

export type SideMaker = (url: string, prefix: string) => Promise<Side>

export const concordat: SideMaker = async (url, prefix) => {
  const locks = redisLocks({ url, prefix: `${prefix}ours:` })
  return {
    name: 'concordat',
    pair: async (key) => {
      const lease = await locks.acquire(key, { ttlMs: TTL_MS, waitMs: 0 })
      await lease.release()
    },
    close: () => locks.close(),
  }
}

const DELETE_IF_MINE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`
const DELETE_SHA = createHash('sha1').update(DELETE_IF_MINE).digest('hex')

/** ioredis with its defaults: RESP3, each command is written when it is called. */
export const bare: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  await client.script('LOAD', DELETE_IF_MINE)
  return {
    name: 'bare ioredis',
    pair: (key) => barePair(client, `${prefix}bare:${key}`),
    close: () => quit(client),
  }
}

/**
 * The same commands over a connection like ours: RESP2, and commands of one turn of the event loop written together.
 * Users do not write that by hand; the row shows what the rest of this package costs.
 */
export const bareTogether: SideMaker = async (url, prefix) => {
  const client = new Redis(url, { protocol: 2 })
  await client.script('LOAD', DELETE_IF_MINE)
  let corked = false
  const together = (): void => {
    if (corked) return
    corked = true
    const { stream } = client
    stream.cork()
    process.nextTick(() => {
      corked = false
      stream.uncork()
    })
  }
  return {
    name: 'bare ioredis, writes together',
    pair: (key) => barePair(client, `${prefix}together:${key}`, together),
    close: () => quit(client),
  }
}

const TAKE_WITH_TOKEN = `
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
return redis.call('INCR', KEYS[2])
`
const TAKE_SHA = createHash('sha1').update(TAKE_WITH_TOKEN).digest('hex')

/** The least that a lock with a fencing token is: no queue, no notification, and after FLUSHALL tokens begin again. */
export const bareWithToken: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  await client.script('LOAD', TAKE_WITH_TOKEN)
  await client.script('LOAD', DELETE_IF_MINE)
  return {
    name: 'bare ioredis, a script that gives a token',
    pair: async (of) => {
      const [key, value] = [`${prefix}token:${of}`, randomBytes(16).toString('hex')]
      if ((await client.evalsha(TAKE_SHA, 2, key, `${key}:fence`, value, TTL_MS)) === null)
        throw new Error(`${key} is held`)
      await client.evalsha(DELETE_SHA, 1, key, value)
    },
    close: () => quit(client),
  }
}

async function barePair(client: Redis, key: string, beforeWrite?: () => void): Promise<void> {
  const value = randomBytes(16).toString('hex')
  beforeWrite?.()
  if ((await client.set(key, value, 'PX', TTL_MS, 'NX')) !== 'OK') throw new Error(`${key} is held`)
  beforeWrite?.()
  await client.evalsha(DELETE_SHA, 1, key, value)
}

/** The part of redlock that is used; its types cannot be imported from an ES module. */
export interface Redlock {
  acquire(keys: string[], ttlMs: number, settings?: { retryCount: number }): Promise<{ release(): Promise<unknown> }>
}
type RedlockClass = new (clients: readonly Redis[], settings?: { retryCount: number }) => Redlock

const { default: RedlockImpl } = createRequire(import.meta.url)('redlock') as { default: RedlockClass }

export function makeRedlock(clients: readonly Redis[], settings?: { retryCount: number }): Redlock {
  return new RedlockImpl(clients, settings)
}

export const redlock: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  const locks = makeRedlock([client])
  return {
    name: 'redlock 5.0.0-beta.2',
    pair: async (key) => {
      const lock = await locks.acquire([`${prefix}redlock:${key}`], TTL_MS)
      await lock.release()
    },
    close: () => quit(client),
  }
}

export const redisSemaphore: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  return {
    name: 'redis-semaphore 5.8 Mutex',
    pair: async (key) => {
      const mutex = new Mutex(client, `${prefix}${key}`, { lockTimeout: TTL_MS })
      await mutex.acquire()
      await mutex.release()
    },
    close: () => quit(client),
  }
}

export async function quit(client: Redis): Promise<void> {
  await client.quit()
}
