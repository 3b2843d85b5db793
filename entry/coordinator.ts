/**
 * Coordinators, for those who compose the parts by hand: `createService({ sagas })` makes its own. One coordinator drives the sagas of
 * one database; a sharded one has a coordinator for each of several databases behind one front.
 *
 * @module
 */
export { type Coordinator, createCoordinator } from '../saga/coordinator/coordinator.ts'
export type { SagaHealth } from '../saga/coordinator/health.ts'
export type { OperatorNote } from '../saga/coordinator/operator-checks.ts'
export { createShardedCoordinator } from '../saga/sharding/create-sharded-coordinator.ts'
export { ShardingError } from '../saga/sharding/errors.ts'
export type { ShardedCoordinator } from '../saga/sharding/sharded-coordinator.ts'
