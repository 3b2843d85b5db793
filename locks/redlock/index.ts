/**
 * A lock on several independent Redis servers: held by the claim for which a majority of them has voted, so it works while fewer than half
 * of them are down. The package `redlock` (an optional peer) counts the votes, behind a guard of ours.
 *
 *     const locks = redlockLocks({ urls: ['redis://a:6379', 'redis://b:6379', 'redis://c:6379'] })
 *
 *   grant:   ask all -> majority voted -> highest token written back to a majority -> validity left? -> held
 *   renewal: ask all -> majority still ours, in time -> held; never without a majority, never after the deadline
 *
 * Trusted: the rate of each server's clock, for as long as a lease; for the token also that a server which forgot its counter has a clock
 * at most `restartGraceMs` behind. Not guaranteed: that no holder believes in a lost lock (a server that was emptied while running, a
 * changed clock, a stopped process): use the token and a fence. For most users, `redisLocks` on one server and a fence is the better
 * choice: `docs/brokers/redis.md`.
 *
 * @module
 */
export { redlockLocks } from './redlock-locks.ts'
