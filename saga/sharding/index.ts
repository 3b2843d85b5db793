/**
 * Sagas over several databases: a coordinator for each shard, and one front.
 *
 * @module
 */

export { createShardedCoordinator } from './create-sharded-coordinator.ts'
export { ShardingError, type ShardingErrors } from './errors.ts'
export type { ShardedCoordinatorOptions, ShardOptions } from './options.ts'
export type { ShardedCoordinator, ShardedHealth, ShardedSummary } from './sharded-coordinator.ts'
