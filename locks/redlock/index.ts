/**
 * One lock on several independent Redis servers: held by whom a majority of them has voted for, so it goes on while fewer
 * than half of them are away. The voting is done by the package `redlock` (an optional peer), behind a guard of ours.
 *
 *     const locks = redlockLocks({ urls: ['redis://a:6379', 'redis://b:6379', 'redis://c:6379'] })
 *
 *   grant:   ask all -> majority voted -> highest token written back to a majority -> validity left? -> held
 *   renewal: ask all -> majority still ours, in time -> held; never without a majority, never after the deadline
 *
 * Trusted: the rate of each server's clock, for as long as a lease; of the token also that a server which forgot its
 * counter has a clock not more than `restartGraceMs` behind. Not guaranteed: that nobody believes in a lock that he has
 * lost (a server that was emptied while it ran, a clock that was set, a stopped process): for that there is the token and
 * the fence. For most, `redisLocks` on one server and a fence is the better choice: `docs/brokers/redis.md`.
 *
 * @module
 */
export type { RedisClient } from '../../core/redis/client.ts'
export { type RedlockLocksOptions, redlockLocks } from './redlock-locks.ts'
