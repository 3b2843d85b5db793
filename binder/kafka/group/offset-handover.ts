import { type Clock, SECOND } from '../../../core/clock.ts'
import type { Logger } from '../../../core/logger.ts'
import { ended } from '../../transport/kit/deadline.ts'
import type { MemberSpec } from '../driver.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import { AssignmentCarryOver } from './assignment-carry-over.ts'
import { Commits } from './commits.ts'
import type { PartitionLending } from './partition-lending.ts'

const FLUSH_MS = 3 * SECOND
/** Interval at which it checks whether the binding was paused, or its circuit has opened. */
const LOOK_MS = 1 * SECOND

export interface ProgressFields {
  readonly clock: Clock
  readonly logger: Logger
  readonly commitIntervalMs: number
  readonly rebalanceTimeoutMs: number
  /** Returns the current assignment. */
  current(): PartitionLending | undefined
  /** Called when commits have been refused for some seconds, and with `undefined` when one succeeds again. */
  onCommitsRefused(error: Error | undefined): void
  /** Makes the binder release messages that no handler has begun. */
  recall(): void
  /** True while no handler would begin a message. */
  isHeld(): boolean
}

/** Commits the progress of a member, and hands an assignment over to the next one. */
export class OffsetHandover {
  readonly commits: Commits
  readonly carried: AssignmentCarryOver
  readonly #fields: ProgressFields
  /** False for a group that commits nothing, and continues from its own memory. */
  readonly #isDurable: boolean

  constructor({ topic, startAt }: MemberSpec, fields: ProgressFields) {
    const { clock, logger, commitIntervalMs: intervalMs } = fields
    this.#fields = fields
    this.#isDurable = startAt === undefined
    this.carried = new AssignmentCarryOver(startAt)
    this.commits = new Commits({
      topic,
      clock,
      intervalMs,
      logger,
      onCommitted: (positions) => fields.current()?.committed(positions),
      onRefused: (error) => fields.onCommitsRefused(error),
    })
  }

  /** Records that the position of a partition has moved. */
  mark({ partition, tracker: { position }, isCommitDue }: AssignedPartition): void {
    if (this.#isDurable && position !== undefined) this.commits.mark(partition, position, isCommitDue)
  }

  /**
   * Waits until messages in handlers are settled and committed, for at most about two thirds of the rebalance timeout. An
   * assignment that was replaced by another has already been given up.
   */
  async handOver(lending: PartitionLending): Promise<void> {
    const { clock, rebalanceTimeoutMs } = this.#fields
    this.#fields.recall()
    const over = new AbortController()
    await ended(clock, Math.floor(rebalanceTimeoutMs * 0.6), this.#finishStarted(lending, over.signal))
    over.abort()
    if (!lending.isWithdrawn) await ended(clock, Math.min(FLUSH_MS, rebalanceTimeoutMs / 6), this.#flush())
    if (this.#fields.current() === lending) this.giveUp(lending)
  }

  /** Handles the released messages below handled ones before the end, until `over` aborts. */
  async finishGaps(over: AbortSignal): Promise<void> {
    const lending = this.#fields.current()
    if (lending !== undefined) await this.#finishStarted(lending, over)
  }

  /** Stores the data that the next assignment needs. */
  giveUp(lending: PartitionLending): void {
    this.carried.remember(lending)
    this.commits.reset()
  }

  /** @param flush commits settled messages, unless the assignment is withdrawn */
  async end(flush: boolean): Promise<void> {
    const { clock } = this.#fields
    if (flush && this.#fields.current()?.isWithdrawn === false) await ended(clock, FLUSH_MS, this.#flush())
    this.commits.reset()
  }

  /**
   * Handlers may process several keys of a partition at once: unfinished messages below finished ones are handled, too, as long
   * as handlers begin any.
   */
  async #finishStarted(lending: PartitionLending, over: AbortSignal): Promise<void> {
    await lending.settled()
    let gaps = lending.lendGaps()
    while (gaps.length > 0) {
      while (!lending.isSettled && !this.#fields.isHeld()) {
        await ended(this.#fields.clock, LOOK_MS, lending.settled())
        if (over.aborted) return
      }
      if (!lending.isSettled) this.#fields.recall()
      await lending.settled()
      if (over.aborted) return
      gaps = gaps.some(({ done }) => done) ? lending.lendGaps() : []
    }
  }

  async #flush(): Promise<void> {
    await this.commits.flush().catch(() => this.commits.flush())
  }
}
