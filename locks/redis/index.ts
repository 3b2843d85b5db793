/**
 * Locks on Redis 6.2 or later, one server (a master and its replicas count as one), through ioredis.
 *
 *     const locks = redisLocks({ url: 'redis://127.0.0.1:6379' })
 *
 * Two connections per `redisLocks`, opened when first needed: one for commands, one for the wake-ups of waiters. What a
 * restart or a failover of Redis can do to a lock: `docs/locks.md`.
 */
import { SECOND } from '../../core/clock.ts'
import { requireInteger, requireText } from '../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../core/options.ts'
import type { Locks } from '../lock.ts'
import { createLocks } from '../locks.ts'
import { LOCKS_NAMES, type LocksOptions, resolveLocks } from '../options.ts'
import { clientFromUrl, type RedisClient } from './client.ts'
import { RedisConnection } from './connection.ts'
import { RestartGuard } from './restart.ts'
import { RedisLockStore } from './store.ts'

export interface RedisLocksOptions extends LocksOptions {
  /** An ioredis client whose settings (address, TLS, password, sentinels, database) our own connections copy. */
  readonly client?: RedisClient | undefined
  /** Instead of `client`: the address, `redis://` or `rediss://`. Needs ioredis installed. */
  readonly url?: string | undefined
  /** Begins every key and channel. The client's own `keyPrefix` is not used. @default 'concordat:lock:' */
  readonly prefix?: string | undefined
  /** How long Redis may take to answer or to connect before it counts as unavailable. @default 1 second */
  readonly answerMs?: number | undefined
  /**
   * A server that runs for less than this grants nothing: held locks that a crash made it forget end before. Set it to
   * the longest ttl in use, unless Redis keeps every write (`appendfsync always`); the price is that no lock can be had
   * for that long after each restart. @default 0
   */
  readonly restartGraceMs?: number | undefined
}

export type { RedisClient, RedisConnectionClient } from './client.ts'

const NAMES = optionNames<RedisLocksOptions>({
  ...LOCKS_NAMES,
  client: true,
  url: true,
  prefix: true,
  answerMs: true,
  restartGraceMs: true,
})

/** @throws TypeError / RangeError for a bad option; connects later, so never because Redis is away */
export function redisLocks(options: RedisLocksOptions): Locks {
  refuseUnknown('redisLocks', options, NAMES)
  const { clock, logger } = resolveLocks(options)
  const prefix = requireText('redisLocks.prefix', options.prefix ?? 'concordat:lock:')
  const answerMs = requireInteger('redisLocks.answerMs', options.answerMs ?? 1 * SECOND, 10)
  const client = source(options)
  const commands = new RedisConnection({ client, name: 'concordat-locks', answerMs, clock, logger })
  const subscriber = new RedisConnection({ client, name: 'concordat-locks-turns', answerMs, clock, logger })
  const guard = new RestartGuard(commands, options.restartGraceMs ?? 0, clock, logger)
  return createLocks(new RedisLockStore({ commands, subscriber, guard, prefix }), options)
}

function source(options: RedisLocksOptions): () => Promise<RedisClient> {
  const { client, url } = options
  if (client !== undefined && url === undefined) {
    if (!hasMethods(client, ['duplicate']))
      throw wrongKind('redisLocks.client', client, 'an ioredis client: new Redis()')
    return () => Promise.resolve(client)
  }
  if (url !== undefined && client === undefined) {
    checkUrl(url)
    return () => clientFromUrl(url)
  }
  throw new TypeError('redisLocks: expected either client (an ioredis instance) or url')
}

/** Shows no more of it than the protocol: the rest can hold a password. */
function checkUrl(url: unknown): void {
  const fits = typeof url === 'string' && /^rediss?:\/\//.test(url) && URL.canParse(url)
  if (fits) return
  const protocol = typeof url === 'string' ? /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0] : undefined
  const expected = 'redis://user:password@host:port/database or rediss://...'
  if (protocol === undefined) throw wrongKind('redisLocks.url', url, expected)
  throw new TypeError(`redisLocks.url: expected ${expected}, got something that begins with ${protocol}`)
}
