import type { Clock } from '../../../../core/clock.ts'
import type { Stall, TransportDelivery } from '../../../transport/transport.ts'
import type { AssignedPartition } from '../../group/assigned-partition.ts'
import { Assignment, type AssignmentLimits } from '../../group/assignment.ts'
import { Stalls } from '../../group/stalls.ts'
import type { Cluster } from '../network/cluster.ts'
import { Fetcher, type FetcherSettings } from './fetcher.ts'
import type { Term } from './group-session.ts'

export interface TermParts extends AssignmentLimits {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly fetching: FetcherSettings
  readonly groupId: string
  isCertain(): boolean
  deliver(delivery: TransportDelivery): void
  onProgress(assigned: AssignedPartition): void
  onReleased(assigned: AssignedPartition): void
  onStalled(stall: Stall | undefined): void
  /** A fetch of the partition from that offset was answered. */
  onHeard(partition: number, offset: number, highWatermark: string | number): void
  /** The broker has nothing at that offset: reading goes on at the first that there is. */
  onOutOfRange(partition: number, offset: number): void
  onUnknown(): void
  isSame(): Promise<boolean>
  onAnswer(error?: unknown): void
  onLost(error: unknown): void
}

/** A term of the group: the partitions of this member, fetched and lent. */
export class RunningTerm {
  readonly joined: Term
  readonly assignment: Assignment
  /** Resolves when it is time to join again. */
  readonly rejoin = Promise.withResolvers<void>()
  readonly #fetcher: Fetcher
  readonly #stalls: Stalls
  readonly #groupId: string
  #isHeld = false

  constructor(joined: Term, parts: TermParts) {
    const { cluster, clock, fetching, topic, groupId } = parts
    this.joined = joined
    this.#groupId = groupId
    this.assignment = new Assignment(joined.partitions, parts, {
      isCertain: () => parts.isCertain(),
      deliver: (delivery) => parts.deliver(delivery),
      onProgress: (assigned) => parts.onProgress(assigned),
      onReleased: (assigned) => parts.onReleased(assigned),
      onRoom: () => this.#fetcher.refresh(),
    })
    this.#fetcher = new Fetcher(cluster, clock, fetching, {
      onNews: (news) => {
        this.#stalls.heard(news)
        parts.onHeard(news.answer.partition, news.offset, news.answer.highWatermark)
      },
      onBatch: (assigned, batch) => {
        assigned.append(batch)
        this.assignment.lend(assigned)
      },
      onSkipped: (assigned, next) => {
        assigned.skip(next)
        parts.onProgress(assigned)
      },
      onOutOfRange: (partition, offset) => parts.onOutOfRange(partition, offset),
      onUnknown: () => parts.onUnknown(),
      isSame: () => parts.isSame(),
      onAnswer: (error) => parts.onAnswer(error),
      onLost: (error) => parts.onLost(error),
    })
    this.#stalls = new Stalls(topic, clock, this.#fetcher, (stall) => parts.onStalled(stall))
  }

  /** @param positions where to begin, of each partition */
  start(positions: ReadonlyMap<number, number>): void {
    this.#stalls.shared(this.#groupId, this.joined.others)
    this.#fetcher.start(this.assignment.partitions.values(), positions)
  }

  setPaused(paused: boolean): void {
    this.#fetcher.setPaused(paused)
    this.assignment.hold(paused || this.#isHeld)
  }

  /** Stops lending and fetching permanently. Lent messages stay lent. */
  hold(): void {
    this.#isHeld = true
    this.assignment.hold(true)
    this.#fetcher.stop()
    this.#stalls.reset()
  }

  end(reason: Error): void {
    this.hold()
    this.assignment.withdraw(reason)
  }
}
