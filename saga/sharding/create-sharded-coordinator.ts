/** Makes a sharded coordinator. Connects nothing. */
import { resolveShardedOptions, type ShardedCoordinatorOptions } from './options.ts'
import type { ShardedCoordinator } from './sharded-coordinator.ts'
import { ShardCoordinators } from './shard-coordinators.ts'

/**
 * A coordinator whose sagas are spread over several databases by their ids.
 * @throws TypeError / RangeError naming the option
 */
export function createShardedCoordinator(options: ShardedCoordinatorOptions): ShardedCoordinator {
  return new ShardCoordinators(resolveShardedOptions(options))
}
