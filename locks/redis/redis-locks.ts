import { requireText } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { REDIS_NAMES, type RedisOptions, resolveRedis } from '../../core/redis/client.ts'
import { RedisConnection } from '../../core/redis/connection.ts'
import type { RedisErrors } from '../../core/redis/translate-errors.ts'
import { locksOn } from '../create-locks.ts'
import { LockError } from '../errors.ts'
import type { Locks } from '../lock.ts'
import { LOCKS_NAMES, type LocksOptions, resolveLocks } from '../options.ts'
import { AcknowledgedScripts, type ReplicaOptions } from './replicas.ts'
import { RestartGuard } from './restart.ts'
import { RedisLockStore } from './store.ts'

/** Options of `redisLocks`. */
export interface RedisLocksOptions extends LocksOptions, RedisOptions {
  /** Prefix of every key and channel. The client's own `keyPrefix` is not used. @default 'concordat:lock:' */
  readonly prefix?: string | undefined
  /**
   * A server that has run for less than this grants nothing, so that held locks that a crash made it forget have expired. Set
   * it to the longest ttl in use, unless Redis keeps every write (`appendfsync always`). No lock can be acquired for that long
   * after each restart. @default 0
   */
  readonly restartGraceMs?: number | undefined
  /**
   * A grant or a renewal counts only when this many replicas have acknowledged it (`WAIT`); otherwise the grant is released and
   * the attempt fails with `locks.store_unavailable`. Reduces what a failover can forget, but only the fence closes the gap.
   * Costs a round trip to the replicas per grant and a third connection. @default no replicas are awaited
   */
  readonly replicas?: ReplicaOptions | undefined
}

const NAMES = optionNames<RedisLocksOptions>({
  ...LOCKS_NAMES,
  ...REDIS_NAMES,
  prefix: true,
  restartGraceMs: true,
  replicas: true,
})

const ERRORS: RedisErrors = {
  unavailable: (outcome, detail, cause) =>
    new LockError('locks.store_unavailable', { store: 'redis', outcome, detail }, cause),
  refused: (cause) => new LockError('locks.store_refused', { store: 'redis' }, cause),
}

/**
 * Creates locks on one server (a master and its replicas count as one). Opens two connections when first needed: one for
 * commands, one for wake-ups of waiters.
 *
 * @throws TypeError / RangeError for a bad option. Connects later, so an unavailable Redis never makes it throw.
 */
export function redisLocks(options: RedisLocksOptions): Locks {
  refuseUnknown('redisLocks', options, NAMES)
  const { clock, logger } = resolveLocks(options)
  const prefix = requireText('redisLocks.prefix', options.prefix ?? 'concordat:lock:')
  const { client, answerMs, isCluster } = resolveRedis('redisLocks', options)
  const shared = { client, answerMs, clock, logger, errors: ERRORS, letsExit: true }
  const commands = new RedisConnection({ ...shared, name: 'concordat-locks' })
  const subscriber = new RedisConnection({ ...shared, name: 'concordat-locks-turns', follows: commands })
  const guard = new RestartGuard(commands, options.restartGraceMs ?? 0, clock, logger)
  const channel = `${prefix}turn:${isCluster ? 'cluster:' : ''}`
  const acknowledged = options.replicas && new AcknowledgedScripts(options.replicas, shared, isCluster)
  return locksOn(new RedisLockStore({ commands, subscriber, guard, prefix, channel, acknowledged }), options)
}
