import { type Clock, SECOND, systemClock } from '../../../core/clock.ts'
import { requireInteger, requireText } from '../../../core/errors.ts'
import { checkLogger, type Logger } from '../../../core/logger.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { clientSource, isCluster, type RedisClient } from '../../../core/redis/client.ts'
import { RedisConnection } from '../../../core/redis/connection.ts'
import { warnOfEviction } from '../../../core/redis/eviction-warning.ts'
import type { RedisErrors } from '../../../core/redis/translate-errors.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import { HealthProbingClusterStore } from '../store/health-probing-store.ts'
import { RedisClusterStore } from './store.ts'
import { BLOCK_MS } from './tail.ts'

/** Options of `redisStateStore`: either `client` or `url`. */
export interface RedisStateStoreOptions {
  /** An ioredis client whose settings (address, TLS, password, sentinels, database) our own connections copy. */
  readonly client?: RedisClient | undefined
  /** Instead of `client`: the address, `redis://` or `rediss://`. Needs ioredis installed. */
  readonly url?: string | undefined
  /** Begins every key. The client's own `keyPrefix` is not used. @default 'concordat:cluster:' */
  readonly prefix?: string | undefined
  /** How long Redis may take to answer or to connect before it counts as unavailable. @default 1 second */
  readonly answerMs?: number | undefined
  /** @default stderrLogger */
  readonly logger?: Logger | undefined
  /** @default systemClock */
  readonly clock?: Clock | undefined
}

const NAMES = optionNames<RedisStateStoreOptions>({
  client: true,
  url: true,
  prefix: true,
  answerMs: true,
  logger: true,
  clock: true,
})

const ERRORS: RedisErrors = {
  unavailable: (outcome, detail, cause) =>
    new ClusterError('cluster.store_unavailable', { store: 'redis', outcome, detail }, cause),
  refused: (cause) => new ClusterError('cluster.store_refused', { store: 'redis' }, cause),
}

/**
 * Cluster state on one server, Sentinel, or Redis Cluster (all of one cluster in one slot). Opens two connections when first needed: one
 * for commands, one for the blocking reads of all logs (on Redis Cluster one of these per cluster name).
 *
 * @throws TypeError / RangeError for a bad option; connects later, so never because Redis is away
 */
export function redisStateStore(options: RedisStateStoreOptions): ClusterStore {
  refuseUnknown('redisStateStore', options, NAMES)
  const { clock = systemClock } = options
  const logger = checkLogger('redisStateStore.logger', options.logger)
  const prefix = requireText('redisStateStore.prefix', options.prefix ?? 'concordat:cluster:')
  const answerMs = requireInteger('redisStateStore.answerMs', options.answerMs ?? 1 * SECOND, 10)
  const shared = { client: clientSource('redisStateStore', options), clock, logger, errors: ERRORS }
  const commands = new RedisConnection({ ...shared, answerMs, name: 'concordat-cluster' })
  warnOfEviction(commands, { name: 'cluster state', expires: true }, logger)
  const store = new RedisClusterStore({
    commands,
    newReader: () => new RedisConnection({ ...shared, answerMs: BLOCK_MS + answerMs, name: 'concordat-cluster-logs' }),
    prefix,
    isSharded: options.client !== undefined && isCluster(options.client),
    clock,
    logger,
  })
  return new HealthProbingClusterStore(store, clock)
}
