/** Creates a sharded coordinator without connecting. */
import { resolveShardedOptions, type ShardedCoordinatorOptions } from './options.ts'
import { RoutingCoordinator } from './routing-coordinator.ts'
import type { ShardedCoordinator } from './sharded-coordinator.ts'

/**
 * Creates a coordinator that distributes its sagas over several databases by their ids.
 * @throws TypeError / RangeError naming the option
 */
export function createShardedCoordinator(options: ShardedCoordinatorOptions): ShardedCoordinator {
  return new RoutingCoordinator(resolveShardedOptions(options))
}
