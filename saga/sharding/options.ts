/** Options of a sharded coordinator, merged with the options of each shard and checked. */

import type { Clock } from '../../core/clock.ts'
import { invalidOption } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import type { Logger } from '../../core/logger.ts'
import { optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { resolveRuntime } from '../../core/runtime-options.ts'
import {
  COORDINATOR_OPTIONS,
  type CoordinatorOptions,
  type ResolvedOptions,
  resolveCoordinatorOptions,
} from '../coordinator/options.ts'

/** A database of a sharded coordinator. Its options override the common ones. */
export interface ShardOptions
  extends Pick<CoordinatorOptions, 'sql' | 'outbox'>,
    Partial<Pick<CoordinatorOptions, 'schema' | 'concurrency' | 'transactions'>> {
  /**
   * Service name of this shard: replies to its sagas arrive on `<service>.saga-replies`, so each shard needs its own name. Keep
   * the previous name for a database that was used before sharding. @default `<service of the coordinator>-<name of the shard>`
   */
  readonly service?: string | undefined
}

/** Options of `createShardedCoordinator`: those of `createCoordinator`, with shards instead of one database. */
export interface ShardedCoordinatorOptions extends Omit<CoordinatorOptions, 'sql' | 'outbox'> {
  /**
   * Databases by name: letters, digits, `.`, `_` and `-`, at most 40 characters. The name of a database must never change,
   * because the place of every saga is computed from it. Include all shards that ever existed, also those that take no new sagas.
   */
  readonly shards: Readonly<Record<string, ShardOptions>>
}

export interface ResolvedSharding {
  readonly instance: string
  readonly logger: Logger
  readonly clock: Clock
  readonly shards: ReadonlyMap<string, ResolvedOptions>
}

const SHARD = optionNames<ShardOptions>({
  sql: true,
  outbox: true,
  service: true,
  schema: true,
  concurrency: true,
  transactions: true,
})
const KNOWN = new Set([...COORDINATOR_OPTIONS].filter((name) => name !== 'sql' && name !== 'outbox').concat('shards'))
const PATH = 'createShardedCoordinator'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/

/** @throws TypeError / RangeError naming the option */
export function resolveShardedOptions(options: ShardedCoordinatorOptions): ResolvedSharding {
  refuseUnknown(PATH, options, KNOWN)
  const { shards, ...common } = options
  if (typeof shards !== 'object' || shards === null || Object.keys(shards).length === 0) {
    throw wrongKind(`${PATH}.shards`, shards, 'at least one shard by its name: { a: { sql, outbox }, ... }')
  }
  const runtime = resolveRuntime(PATH, options)
  const instance = options.instance ?? newId()
  const resolved = new Map<string, ResolvedOptions>()
  for (const [name, shard] of Object.entries(shards).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!NAME.test(name)) {
      throw invalidOption(`${PATH}.shards`, name, 'names of 1 to 40 letters, digits, ".", "_" and "-"')
    }
    const path = `${PATH}.shards.${name}`
    refuseUnknown(path, shard, SHARD)
    const service = shard.service ?? `${common.service}-${name}`
    resolved.set(
      name,
      resolveCoordinatorOptions({ ...common, instance, ...defined(shard), service } as CoordinatorOptions, path),
    )
  }
  requireDistinct([...resolved.values()])
  return { instance, ...runtime, shards: resolved }
}

/** Ignores options of a shard that are `undefined`, so that the common ones apply. */
function defined(shard: ShardOptions): Partial<ShardOptions> {
  return Object.fromEntries(Object.entries(shard).filter(([, value]) => value !== undefined))
}

/**
 * @throws TypeError when shards share a name or a table: one would read the replies of the other, or a row would belong to both
 */
function requireDistinct(shards: readonly ResolvedOptions[]): void {
  const services = new Set<string>()
  for (const [index, { service, sql, schema }] of shards.entries()) {
    if (services.has(service)) throw invalidOption(`${PATH}.shards`, service, 'a `service` for each shard, none twice')
    services.add(service)
    if (shards.slice(0, index).some((other) => other.sql === sql && other.schema === schema)) {
      throw invalidOption(`${PATH}.shards`, schema, 'a database for each shard, or at least a schema')
    }
  }
}
