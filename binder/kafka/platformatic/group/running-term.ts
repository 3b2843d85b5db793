import { type Clock, SECOND } from '../../../../core/clock.ts'
import type { Receiver } from '../../../transport/transport.ts'
import type { AnsweredFetches } from '../../group/answered-fetches.ts'
import type { AssignedPartition } from '../../group/assigned-partition.ts'
import { OffsetResetDetector } from '../../group/offset-reset-detector.ts'
import { PartitionLending, type PartitionLendingLimits } from '../../group/partition-lending.ts'
import { RedeliveryPause } from '../../group/redelivery-pause.ts'
import { Stalls } from '../../group/stalls.ts'
import type { Cluster } from '../network/cluster.ts'
import { Fetcher, type FetcherSettings } from './fetcher.ts'
import type { Term } from './group-session.ts'
import type { RecreatedTopicCheck } from './recreated-topic-check.ts'

/** How often the leader of a group looks whether the topic got more partitions. */
const PARTITIONS_MS = 30 * SECOND

export interface TermParts extends PartitionLendingLimits {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly fetching: FetcherSettings
  readonly groupId: string
  readonly receiver: Receiver
  readonly fetches: AnsweredFetches
  readonly sameTopic: RecreatedTopicCheck
  isCertain(): boolean
  onProgress(assigned: AssignedPartition): void
  onAnswer(error?: unknown): void
  onLost(error: unknown): void
}

/** A term of the group: the partitions of this member, fetched and lent. */
export class RunningTerm {
  readonly joined: Term
  readonly lending: PartitionLending
  /** Resolves when it is time to join again. */
  readonly rejoin = Promise.withResolvers<void>()
  readonly #fetcher: Fetcher
  readonly #stalls: Stalls
  readonly #parts: Pick<TermParts, 'clock' | 'cluster' | 'topic' | 'groupId' | 'fetches'>
  #isHeld = false

  constructor(joined: Term, parts: TermParts) {
    const { cluster, clock, fetching, topic, fetches, sameTopic } = parts
    const displacements = new OffsetResetDetector(topic, (each) => parts.receiver.displaced?.(each))
    const redeliveryPause = new RedeliveryPause(clock, () => this.lending)
    this.joined = joined
    this.#parts = parts
    this.lending = new PartitionLending(joined.partitions, parts, {
      isCertain: () => parts.isCertain(),
      deliver: (delivery) => parts.receiver.deliver(delivery),
      onProgress: (assigned) => parts.onProgress(assigned),
      onReleased: (assigned) => redeliveryPause.add(assigned),
      onRoom: () => this.#fetcher.refresh(),
    })
    this.#fetcher = new Fetcher(cluster, clock, fetching, {
      onNews: (news) => {
        this.#stalls.heard(news)
        const { partition, highWatermark } = news.answer
        displacements.heard(partition, news.offset, highWatermark)
        fetches.answered(partition, news.offset)
      },
      onBatch: (assigned, batch) => {
        assigned.append(batch)
        this.lending.lend(assigned)
      },
      onSkipped: (assigned, next) => {
        assigned.skip(next)
        parts.onProgress(assigned)
      },
      onLeader: (partition, isLed) => this.#stalls.led(partition, isLed),
      onOutOfRange: (partition, offset) => displacements.outOfRange(partition, offset),
      onUnknown: () => sameTopic.doubt(),
      isSame: () => sameTopic.isSame(),
      onAnswer: (error) => parts.onAnswer(error),
      onLost: (error) => parts.onLost(error),
    })
    this.#stalls = new Stalls(topic, clock, this.#fetcher, (stall) => parts.receiver.stalled?.(stall))
  }

  /** @param positions where to begin; a partition that is not among them begins at its first record */
  start(positions: ReadonlyMap<number, number>): void {
    this.#parts.fetches.begin(this.joined.partitions)
    this.#stalls.shared(this.#parts.groupId, this.joined.others)
    this.#fetcher.start(this.lending.partitions.values(), positions)
    if (this.joined.isLeader) this.#watchPartitions()
  }

  /** The leader shares out anew when there are more than it shared out. */
  #watchPartitions(): void {
    const { clock, cluster, topic } = this.#parts
    clock.setTimer(PARTITIONS_MS, () => {
      if (this.#isHeld) return
      cluster
        .freshTopic(topic)
        .then(({ partitions }) => {
          if (partitions.length > this.joined.shared) this.rejoin.resolve()
        })
        .catch(() => {})
        .finally(() => this.#watchPartitions())
    })
  }

  /** The broker refuses commits, or with `undefined` it takes them again. */
  commitsRefused(error: Error | undefined): void {
    if (!this.#isHeld) this.#stalls.commitsRefused(error)
  }

  setPaused(paused: boolean): void {
    this.#fetcher.setPaused(paused)
    this.lending.hold(paused || this.#isHeld)
  }

  /** Stops lending and fetching permanently. Lent messages stay lent. */
  hold(): void {
    this.#isHeld = true
    this.lending.hold(true)
    this.#fetcher.stop()
    this.#stalls.reset()
  }

  end(reason: Error): void {
    this.hold()
    this.lending.withdraw(reason)
  }
}
