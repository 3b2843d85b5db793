/**
 * Cluster state on Redis 6.2 or later, through ioredis: one server, Sentinel, or Redis Cluster (all of one cluster in one
 * slot).
 *
 *     const store = redisStateStore({ url: 'redis://127.0.0.1:6379' })
 *
 * Two connections per `redisStateStore`, opened when first needed: one for commands, one for the blocking reads of all logs
 * (on Redis Cluster one of these per cluster name). What a failover can lose: `docs/coordination/members-and-state.md`.
 *
 * @module
 */
export { redisStateStore } from './redis-state-store.ts'
