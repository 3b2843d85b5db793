import { SECOND } from '../../core/clock.ts'
import { requireInteger, requireText } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { RedisClient } from '../../core/redis/client.ts'
import { locksOn } from '../create-locks.ts'
import type { Locks } from '../lock.ts'
import { LOCKS_NAMES, type LocksOptions, resolveLocks } from '../options.ts'
import { QuorumNode } from './node.ts'
import { type QuorumSettings, Servers } from './servers.ts'
import { quorumSources } from './sources.ts'
import { RedlockStore } from './store.ts'

export interface RedlockLocksOptions extends LocksOptions {
  /** Addresses of the servers: an odd number, 3 or more, none a replica of another. Needs ioredis installed. */
  readonly urls?: readonly string[] | undefined
  /** Alternative to `urls`: an ioredis client for each server, whose settings the locks' own connections copy. */
  readonly clients?: readonly RedisClient[] | undefined
  /** Prefix of every key. Must differ from that of `redisLocks`, if one server is used for both. @default 'concordat:redlock:' */
  readonly prefix?: string | undefined
  /**
   * Time limit of a server's answer, after which the others decide without it; never more than a fifth of the ttl (or 20 ms).
   * @default 200 ms
   */
  readonly answerMs?: number | undefined
  /**
   * A server that has run for less than this does not vote, so that locks that it forgot in a crash have expired. Must be equal
   * for all users of the locks, and no ttl may be longer. Only a restart of a majority has a cost: no lock can be acquired for
   * that long. 0 only if every server keeps every write (`appendfsync always`). @default 30 seconds
   */
  readonly restartGraceMs?: number | undefined
  /**
   * Interval at which the next in the queue repeats its request: once to twice this, at random; later ones less often. It is the
   * gap between a release and the next grant. @default 20 ms
   */
  readonly pollMs?: number | undefined
}

const NAMES = optionNames<RedlockLocksOptions>({
  ...LOCKS_NAMES,
  urls: true,
  clients: true,
  prefix: true,
  answerMs: true,
  restartGraceMs: true,
  pollMs: true,
})

/**
 * Creates locks on several independent Redis servers: held by the claim for which a majority of them has voted, so they work
 * while fewer than half of them are down. The package `redlock` (an optional peer) counts the votes, with an additional guard.
 *
 *     const locks = redlockLocks({ urls: ['redis://a:6379', 'redis://b:6379', 'redis://c:6379'] })
 *
 *   grant:   ask all -> majority voted -> highest token written back to a majority -> validity left? -> held
 *   renewal: ask all -> still a majority, in time -> held; never without a majority, never after the deadline
 *
 * Assumptions: the rate of each server's clock, for the length of a lease; for the token also that a server which forgot its
 * counter has a clock at most `restartGraceMs` behind. Not guaranteed: that no holder relies on a lost lock (a server that was
 * emptied while running, a changed clock, a stopped process): use the token and a fence. For most users, `redisLocks` on one
 * server and a fence is the better choice: `docs/brokers/redis.md`.
 *
 * @throws TypeError / RangeError for a bad option, an even number of servers or a repeated one; connects later, so never because
 * a server is unavailable
 */
export function redlockLocks(options: RedlockLocksOptions): Locks {
  refuseUnknown('redlockLocks', options, NAMES)
  const { clock, logger } = resolveLocks(options)
  const sources = quorumSources(options)
  const settings: QuorumSettings = {
    prefix: requireText('redlockLocks.prefix', options.prefix ?? 'concordat:redlock:'),
    answerMs: requireInteger('redlockLocks.answerMs', options.answerMs ?? 200, 10),
    pollMs: requireInteger('redlockLocks.pollMs', options.pollMs ?? 20, 1),
    graceMs: requireInteger('redlockLocks.restartGraceMs', options.restartGraceMs ?? 30 * SECOND, 0),
    clock,
    logger,
  }
  const nodes = sources.map((source) => new QuorumNode(source, settings))
  return locksOn(new RedlockStore(new Servers(nodes, settings), settings), options)
}
