/**
 * One coordinator over several databases. Each saga is in one of them, its shard, with the effects of its steps, its commands,
 * its timers and its sub-sagas. The shards are independent, so capacity grows with their number.
 *
 * The shard of a saga is computed from its id (`layout.ts`), and checked by the database when the saga is started
 * (`shard-table.ts`): a process with an outdated list, another list or a wrong address is refused, and starts no second saga.
 *
 * Not guaranteed: a transaction over two shards. Data that must change together needs the same id.
 */
import type { Coordinator } from '../coordinator/coordinator.ts'
import type { SagaHealth } from '../coordinator/health.ts'
import type { SagaTarget } from '../coordinator/operator-checks.ts'
import type { ListFilter, SagaSummary } from '../store/store-types.ts'

/** A line of `list()`, with the shard of the saga. */
export interface ShardedSummary extends SagaSummary {
  readonly shard: string
}

/** Health of a sharded coordinator. */
export interface ShardedHealth {
  /** `degraded`: some shards are not up; the sagas of the others continue. */
  readonly status: 'idle' | 'up' | 'degraded' | 'down' | 'closed'
  /** Error of the first shard that is not up. */
  readonly error?: string | undefined
  /** Shards that new sagas go to, as far as this process knows; `undefined`: no database has answered yet. */
  readonly takes: readonly string[] | undefined
  /** Sum of all shards. */
  readonly inHand: number
  /** Sum of all shards. `undefined`: a shard has no count. */
  readonly open: number | undefined
  readonly stuck: number | undefined
  readonly shards: Readonly<Record<string, SagaHealth>>
}

/**
 * A `Coordinator` over several databases. `migrate` needs all of them. `run` needs one: an unavailable shard is driven as soon as
 * it is available. `list` and `purge` reject while a shard is unavailable, because their result would be incomplete.
 */
export interface ShardedCoordinator extends Omit<Coordinator, 'health' | 'list'> {
  /** Lists sagas of all shards, oldest first. @throws the errors of `Coordinator.list` */
  list(filter?: ListFilter): Promise<readonly ShardedSummary[]>
  /** Returns the state known in memory, without I/O. */
  health(): ShardedHealth
  /** Returns the shard of a saga or, if the saga does not exist, the shard on which it would be started now. */
  shardOf(target: SagaTarget): Promise<string>
  /**
   * Sends new sagas to these shards from now on, from every process; existing sagas stay where they are, and are still found.
   * Resolves when every database has stored the change. Call it after all processes were started with all these shards: a process
   * without one of them refuses to start sagas that belong there. Needs every shard. Idempotent: call it again after a failure.
   * @throws `saga.shards_mismatch` for a shard that this process does not have; `saga.shards_changed` when another process
   * decided otherwise at the same time
   */
  useShards(names: readonly string[]): Promise<void>
}
