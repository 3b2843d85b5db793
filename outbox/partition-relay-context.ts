import type { RepeatedFailureLog } from '../core/repeated-failure-log.ts'
import type { CheckedPublisher } from './checked-publisher.ts'
import type { IdlePartitionPolling } from './idle-partition-polling.ts'
import type { HeldLease } from './lease.ts'
import type { LogOf } from './move-rows-to-log.ts'
import type { PartitionQueries } from './partition-queries.ts'
import type { WindowResult } from './publish-window.ts'
import type { ResolvedRelayOptions } from './relay-options.ts'

/** Members that the classes of one partition share. */
export interface PartitionContext {
  readonly lease: HeldLease
  readonly table: PartitionQueries
  /** Options of the relay, whose publisher is `publisher`. */
  readonly options: Omit<ResolvedRelayOptions, 'publisher'>
  /** Never rejects and is checked against the contract. */
  readonly publisher: CheckedPublisher
  readonly logOf: LogOf
  /** Shared by all partitions, so that an unavailable database is logged once. */
  readonly trouble: RepeatedFailureLog
  /** Finds new rows while the partition is idle. */
  readonly look: IdlePartitionPolling
  /** Called with each settled window and the age of its first row. */
  readonly onWindow: (result: WindowResult, lagMs: number) => void
  /** Called after a row was parked. */
  readonly onParked: () => void
}
