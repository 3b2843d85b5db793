/**
 * Locks on Redis 6.2 or later, one server (a master and its replicas count as one), through ioredis.
 *
 *     const locks = redisLocks({ url: 'redis://127.0.0.1:6379' })
 *
 * Two connections per `redisLocks`, opened when first needed: one for commands, one for the wake-ups of waiters. What a
 * restart or a failover of Redis can do to a lock: `docs/brokers/redis.md`.
 *
 * @module
 */
export { type RedisFence, redisFence } from './fence.ts'
export { redisLocks } from './redis-locks.ts'
