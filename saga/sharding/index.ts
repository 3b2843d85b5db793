/**
 * Sagas over several databases: a coordinator for each shard, and one front.
 *
 * @module
 */

export { createShardedCoordinator } from './create-sharded-coordinator.ts'
export { ShardingError } from './errors.ts'
export type { ShardedCoordinator } from './sharded-coordinator.ts'
