/**
 * One coordinator over several databases: each saga is on one of them, its shard, with its steps' effects, its commands, its
 * timers and the sagas that are its steps. The shards know nothing of each other, so they add up: twice the databases, twice
 * the commits.
 *
 * The place of a saga is computed from its id (`layout.ts`), and checked by the database when the saga is started
 * (`shard-table.ts`): a process with an old list, another list or a wrong address is refused, and doubles nothing.
 *
 * Not guaranteed: a transaction over two shards. What has to change together has to have one id.
 */
import type { Coordinator } from '../coordinator/coordinator.ts'
import type { SagaHealth } from '../coordinator/health.ts'
import type { SagaTarget } from '../coordinator/operator-checks.ts'
import type { ListFilter, SagaSummary } from '../store/store-types.ts'

/** A line of `list()`, and where the saga is. */
export interface ShardedSummary extends SagaSummary {
  readonly shard: string
}

/** Health of a sharded coordinator. */
export interface ShardedHealth {
  /** `degraded`: some shards are not up. What is on the others goes on. */
  readonly status: 'idle' | 'up' | 'degraded' | 'down' | 'closed'
  /** Error of the first shard that is not up. */
  readonly error?: string | undefined
  /** The shards that new sagas go to, as far as this process knows; `undefined`: no database was asked yet. */
  readonly takes: readonly string[] | undefined
  /** Over all shards. */
  readonly inHand: number
  /** Over all shards. `undefined`: a shard was not counted. */
  readonly open: number | undefined
  readonly stuck: number | undefined
  readonly shards: Readonly<Record<string, SagaHealth>>
}

/**
 * As a `Coordinator`, over several databases. `migrate` needs all of them. `run` needs one: what is away is driven
 * once it is there. `list` and `purge` reject when a shard is away, for what they would say were not all.
 */
export interface ShardedCoordinator extends Omit<Coordinator, 'health' | 'list'> {
  /** Over all shards, oldest first. @throws as `Coordinator.list` */
  list(filter?: ListFilter): Promise<readonly ShardedSummary[]>
  /** No I/O. */
  health(): ShardedHealth
  /** The shard of a saga: where it is, or, when there is none, where it would be started now. */
  shardOf(target: SagaTarget): Promise<string>
  /**
   * New sagas go to these shards from now on, whichever process starts them; those that are there stay where they are, and are
   * found. Resolves when every database knows. Call it once all processes were given all these shards: one that was not refuses
   * to start sagas that belong on the shard it does not have. Needs every shard. Idempotent: when it failed in between, call it again.
   * @throws `saga.shards_mismatch` for a shard that was not given to this process; `saga.shards_changed` when others decided something
   * else at the same time
   */
  useShards(names: readonly string[]): Promise<void>
}
