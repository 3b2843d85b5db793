/** Makes a sharded coordinator. Connects nothing. */
import { resolveShardedOptions, type ShardedCoordinatorOptions } from './options.ts'
import { RoutingCoordinator } from './routing-coordinator.ts'
import type { ShardedCoordinator } from './sharded-coordinator.ts'

/**
 * A coordinator whose sagas are spread over several databases by their ids.
 * @throws TypeError / RangeError naming the option
 */
export function createShardedCoordinator(options: ShardedCoordinatorOptions): ShardedCoordinator {
  return new RoutingCoordinator(resolveShardedOptions(options))
}
