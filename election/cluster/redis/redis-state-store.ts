import { requireText } from '../../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { REDIS_NAMES, type RedisOptions, resolveRedis } from '../../../core/redis/client.ts'
import { RedisConnection } from '../../../core/redis/connection.ts'
import { warnOfEviction } from '../../../core/redis/eviction-warning.ts'
import type { RedisErrors } from '../../../core/redis/translate-errors.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../../core/runtime-options.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import { HealthProbingClusterStore } from '../store/health-probing-store.ts'
import { RedisClusterStore } from './store.ts'
import { BLOCK_MS } from './tail.ts'

/** Options of `redisStateStore`: either `client` or `url`. */
export interface RedisStateStoreOptions extends RedisOptions, RuntimeOptions {
  /** Prefix of every key. The client's own `keyPrefix` is not used. @default 'concordat:cluster:' */
  readonly prefix?: string | undefined
}

const NAMES = optionNames<RedisStateStoreOptions>({
  ...REDIS_NAMES,
  ...RUNTIME_NAMES,
  prefix: true,
})

const ERRORS: RedisErrors = {
  unavailable: (outcome, detail, cause) =>
    new ClusterError('cluster.store_unavailable', { store: 'redis', outcome, detail }, cause),
  refused: (cause) => new ClusterError('cluster.store_refused', { store: 'redis' }, cause),
}

/**
 * Creates a store of cluster state on one server, Sentinel, or Redis Cluster (all of one cluster in one slot). Opens two
 * connections when first needed: one for commands, one for the blocking reads of all logs (on Redis Cluster one of these per
 * cluster name).
 *
 * @throws TypeError / RangeError for a bad option; connects later, so never because Redis is unavailable
 */
export function redisStateStore(options: RedisStateStoreOptions): ClusterStore {
  refuseUnknown('redisStateStore', options, NAMES)
  const { clock, logger } = resolveRuntime('redisStateStore', options)
  const prefix = requireText('redisStateStore.prefix', options.prefix ?? 'concordat:cluster:')
  const { client, answerMs, isCluster } = resolveRedis('redisStateStore', options)
  const shared = { client, clock, logger, errors: ERRORS }
  const commands = new RedisConnection({ ...shared, answerMs, name: 'concordat-cluster' })
  warnOfEviction(commands, { name: 'cluster state', expires: true }, logger)
  const store = new RedisClusterStore({
    commands,
    newReader: () => new RedisConnection({ ...shared, answerMs: BLOCK_MS + answerMs, name: 'concordat-cluster-logs' }),
    prefix,
    isSharded: isCluster,
    clock,
    logger,
  })
  return new HealthProbingClusterStore(store, clock)
}
