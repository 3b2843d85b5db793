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
  /** The servers: an odd number, 3 or more, none of them a replica of another. Needs ioredis installed. */
  readonly urls?: readonly string[] | undefined
  /** Instead of `urls`: an ioredis client for each server, whose settings our own connections copy. */
  readonly clients?: readonly RedisClient[] | undefined
  /** Begins every key. Not the prefix of `redisLocks`, if one server is used for both. @default 'concordat:redlock:' */
  readonly prefix?: string | undefined
  /**
   * How long the servers may take for one answer before the others decide without them; never more than a fifth of the
   * ttl (or 20 ms). @default 200 ms
   */
  readonly answerMs?: number | undefined
  /**
   * A server that runs for less than this does not vote: what it may have forgotten in a crash is over by then. The same
   * for all who use the locks, and no ttl may be longer. Only a restart of a majority costs anything: no lock can be had
   * for that long. 0 only if every server keeps every write (`appendfsync always`). @default 30 seconds
   */
  readonly restartGraceMs?: number | undefined
  /**
   * How often the next in line asks again: after once to twice this, at random; those behind it less and less. It is the
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
 * @throws TypeError / RangeError for a bad option, an even number of servers or one that is named twice; connects later,
 *   so never because a server is away
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
