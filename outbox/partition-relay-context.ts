import type { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { RepeatedFailureLog } from '../core/repeated-failure-log.ts'
import type { CheckedPublisher } from './checked-publisher.ts'
import type { IdlePartitionPolling } from './idle-partition-polling.ts'
import type { HeldLease } from './lease.ts'
import type { LogOf } from './move-rows-to-log.ts'
import type { PartitionQueries } from './partition-queries.ts'
import type { WindowResult } from './publish-window.ts'

export interface PartitionRelayOptions {
  /** Never rejects, and keeps to the contract. */
  readonly publisher: CheckedPublisher
  readonly logOf: LogOf
  readonly batchSize: number
  readonly batchBytes: number
  readonly maxAttempts: number
  readonly backoff: Backoff
  readonly logger: Logger
  readonly clock: Clock
  /** Shared by all partitions: an unavailable database is logged once. */
  readonly trouble: RepeatedFailureLog
}

/** Members that the classes of one partition share. */
export interface PartitionContext {
  readonly lease: HeldLease
  readonly table: PartitionQueries
  readonly options: PartitionRelayOptions
  /** Finds out whether there is something, while nothing is. */
  readonly look: IdlePartitionPolling
  /** Told of each window that was settled, and the age of its first row. */
  readonly onWindow: (result: WindowResult, lagMs: number) => void
  /** Called after a row was parked. */
  readonly onParked: () => void
}
