/**
 * Locks, fences, one-time tokens and cluster state on Redis 6.2 or later, through ioredis.
 *
 *     const locks = redisLocks({ url: 'redis://127.0.0.1:6379' })
 *
 * Each store opens its own connections when it first needs them. What a restart or a failover of Redis can do to a lock:
 * `docs/brokers/redis.md`; what it can lose of cluster state: `docs/coordination/members-and-state.md`.
 *
 * @module
 */
export { redisStateStore } from '../election/cluster/redis/redis-state-store.ts'
export { redisTokens } from '../locks/one-time-tokens/redis/redis-tokens.ts'
export { type RedisFence, redisFence } from '../locks/redis/fence.ts'
export { redisLocks } from '../locks/redis/redis-locks.ts'
export { redlockLocks } from '../locks/redlock/redlock-locks.ts'
