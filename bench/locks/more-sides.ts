/** Sides of the other kinds of locks: readers, permits, a majority of servers, and a fenced write. */
import { createHash, randomBytes } from 'node:crypto'
import { redisFence, redisLocks, redlockLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { Semaphore } from 'redis-semaphore'
import { makeRedlock, quit, type Side, type SideMaker, TTL_MS } from './sides.ts'

export const PERMITS = 4

/** All of them read one key. */
export const readers: SideMaker = async (url, prefix) => {
  const locks = redisLocks({ url, prefix: `${prefix}readers:` })
  return {
    name: 'concordat, mode shared, one key',
    pair: async () => {
      const lease = await locks.acquire('one', { ttlMs: TTL_MS, waitMs: 0, mode: 'shared' })
      await lease.release()
    },
    close: () => locks.close(),
  }
}

export const permits: SideMaker = async (url, prefix) => {
  const locks = redisLocks({ url, prefix: `${prefix}permits:` })
  return {
    name: `concordat, ${PERMITS} permits`,
    pair: async (key) => {
      const lease = await locks.acquire(key, { ttlMs: TTL_MS, waitMs: 0, permits: PERMITS })
      await lease.release()
    },
    close: () => locks.close(),
  }
}

export const semaphore: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  return {
    name: 'redis-semaphore 5.8 Semaphore',
    pair: async (key) => {
      const semaphore = new Semaphore(client, `${prefix}${key}`, PERMITS, { lockTimeout: TTL_MS })
      await semaphore.acquire()
      await semaphore.release()
    },
    close: () => quit(client),
  }
}

/** Semaphore with one permit for each reader of the key. */
export const sharedSemaphore: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  return {
    name: 'redis-semaphore 5.8 Semaphore of 1 000, one key',
    pair: async () => {
      const semaphore = new Semaphore(client, `${prefix}readers`, 1_000, { lockTimeout: TTL_MS })
      await semaphore.acquire()
      await semaphore.release()
    },
    close: () => quit(client),
  }
}

const TAKE_PERMIT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return false end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('INCR', KEYS[2])
`
const GIVE_PERMIT = `return redis.call('ZREM', KEYS[1], ARGV[1])`
const [TAKE_SHA, GIVE_SHA] = [TAKE_PERMIT, GIVE_PERMIT].map((script) => createHash('sha1').update(script).digest('hex'))

/** The least that a permit with a fencing token is that ends by the server's clock: no queue, and no notification. */
export const barePermit: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  await client.script('LOAD', TAKE_PERMIT)
  await client.script('LOAD', GIVE_PERMIT)
  return {
    name: 'bare ioredis, scripts for just this, with a token',
    pair: async (of) => {
      const [key, value] = [`${prefix}permit:${of}`, randomBytes(16).toString('hex')]
      const token = await client.evalsha(TAKE_SHA ?? '', 2, key, `${key}:fence`, value, PERMITS, TTL_MS)
      if (token === null) throw new Error(`${key} has no permit`)
      await client.evalsha(GIVE_SHA ?? '', 1, key, value)
    },
    close: () => quit(client),
  }
}

export function quorum(urls: readonly string[]): SideMaker {
  return async (_url, prefix) => {
    // The servers of a bench have just started: without a grace they vote at once.
    const locks = redlockLocks({ urls, prefix: `${prefix}ours:`, restartGraceMs: 0 })
    return {
      name: `concordat, ${urls.length} servers`,
      pair: async (key) => {
        const lease = await locks.acquire(key, { ttlMs: TTL_MS, waitMs: 0 })
        await lease.release()
      },
      close: () => locks.close(),
    }
  }
}

export function bareQuorum(urls: readonly string[]): SideMaker {
  return async (_url, prefix) => {
    const clients = urls.map((url) => new Redis(url))
    const locks = makeRedlock(clients)
    const side: Side = {
      name: `redlock 5.0.0-beta.2, ${urls.length} servers`,
      pair: async (key) => {
        const lock = await locks.acquire([`${prefix}redlock:${key}`], TTL_MS)
        await lock.release()
      },
      close: async () => {
        await Promise.all(clients.map(quit))
      },
    }
    return side
  }
}

/** Fenced SET; `pairs` counts writes here. */
export const fencedWrite: SideMaker = async (url, prefix) => {
  const fence = redisFence({ url, prefix: `${prefix}fence:` })
  let token = 1
  return {
    name: 'concordat, redisFence.write of one SET',
    pair: (key) => fence.write(`${prefix}data:${key}`, token++, [['SET', `${prefix}data:${key}`, token]]),
    close: () => fence.close(),
  }
}

const COMPARE_AND_SET = `
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or 0) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('SET', KEYS[2], ARGV[2])
`
const COMPARE_SHA = createHash('sha1').update(COMPARE_AND_SET).digest('hex')

export const bareFencedWrite: SideMaker = async (url, prefix) => {
  const client = new Redis(url)
  await client.script('LOAD', COMPARE_AND_SET)
  let token = 1
  return {
    name: 'bare ioredis, a script for just this',
    pair: (key) =>
      client.evalsha(COMPARE_SHA, 2, `${prefix}bare-fence:${key}`, `${prefix}bare-data:${key}`, token++, token),
    close: () => quit(client),
  }
}
