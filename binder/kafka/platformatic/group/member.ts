/**
 * One member of a group, on the protocol itself.
 *
 *   opening -> joining -> member --rebalance--> handing over -> joining -> member ...
 *                           \_ close() or lost, from anywhere: ended
 *
 * A term begins with a join and a share of the partitions, and ends when the group wants to share out anew, has forgotten this
 * member, or the topic got more partitions. Between two terms what is lent is settled and committed under the place of the
 * old one, so that no key is in two places. What is lent and how far it is finished is `Assignment`'s; commits are the lowest
 * unfinished offset (`Commits`). When nothing answers for a session timeout the subscription is lost, and the binder makes a
 * new one.
 */
import { type Clock, SECOND } from '../../../../core/clock.ts'
import { toError } from '../../../../core/errors.ts'
import type { Logger } from '../../../../core/logger.ts'
import { ended } from '../../../transport/kit/deadline.ts'
import type { Receiver } from '../../../transport/transport.ts'
import type { Member, MemberEvents, MemberSpec } from '../../driver.ts'
import { hasType, isExpelled, transportError } from '../../errors.ts'
import type { AssignedPartition } from '../../group/assigned-partition.ts'
import type { Assignment } from '../../group/assignment.ts'
import { CarryOver } from '../../group/carry-over.ts'
import { Commits } from '../../group/commits.ts'
import { Displacements } from '../../group/displacements.ts'
import { Fetches } from '../../group/fetches.ts'
import { Heart } from '../../group/heart.ts'
import { LentAgain } from '../../group/lent-again.ts'
import { fetchSizes } from '../../group/waiting-bytes.ts'
import { ConnectFailed, toTransportError } from '../errors.ts'
import { type Cluster, isPassing, RETRY } from '../network/cluster.ts'
import { KafkaRefusal } from '../protocol/errors.ts'
import { EARLIEST, listOffsets, READ_UNCOMMITTED } from '../protocol/offsets.ts'
import type { FetcherSettings } from './fetcher.ts'
import { GroupSession, type Term } from './group-session.ts'
import { RunningTerm } from './running-term.ts'
import { SameTopic } from './same-topic.ts'

const FLUSH_MS = 3 * SECOND
const CLOSE_MS = 5 * SECOND
/** The first fetch is answered at once, with what there is. */
const FIRST_FETCH_MS = 1 * SECOND
/** A second round is needed only if the binder returns messages again. */
const GAP_ROUNDS = 3
/** How often the leader of a group looks whether the topic got more partitions. */
const PARTITIONS_MS = 30 * SECOND

export interface MemberSettings {
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly rebalanceTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly commitIntervalMs: number
  readonly maxWaitMs: number
  readonly maxBatchBytes: number
}

export interface MemberHost extends MemberEvents {
  readonly settings: MemberSettings
  readonly clock: Clock
  readonly logger: Logger
  readonly cluster: Cluster
}

export class GroupMember implements Member {
  readonly #spec: MemberSpec
  readonly #host: MemberHost
  readonly #receiver: Receiver
  readonly #session: GroupSession
  readonly #sameTopic: SameTopic
  readonly #commits: Commits
  readonly #heart: Heart
  readonly #carried: CarryOver
  readonly #fetches = new Fetches()
  readonly #displacements: Displacements
  readonly #joined = Promise.withResolvers<void>()
  readonly #lentAgain: LentAgain
  #term: RunningTerm | undefined
  #isPaused = false
  /** The group shares out anew, or this place in it is gone. */
  #isShareOver = false
  /** The last heartbeat that left. */
  #beatAt = Number.NEGATIVE_INFINITY
  #life: 'opening' | 'open' | 'lost' = 'opening'
  #ended: Promise<void> | undefined

  constructor(spec: MemberSpec, host: MemberHost, receiver: Receiver) {
    const { clock, settings, logger, cluster } = host
    this.#spec = spec
    this.#host = host
    this.#receiver = receiver
    this.#carried = new CarryOver(spec.startAt)
    this.#displacements = new Displacements(spec.topic, (each) => receiver.displaced?.(each))
    this.#lentAgain = new LentAgain(clock, () => this.#term?.assignment)
    this.#session = new GroupSession({ ...spec, ...settings }, cluster, clock)
    this.#commits = new Commits({
      topic: spec.topic,
      clock,
      intervalMs: settings.commitIntervalMs,
      logger,
      onCommitted: (positions) => this.#term?.assignment.committed(positions),
    })
    this.#sameTopic = new SameTopic({
      topic: () => cluster.freshTopic(spec.topic),
      committed: (partitions) => this.#session.committed(partitions),
      commit: (positions) => this.#session.commit(positions),
      onRemade: () => this.#remade(),
    })
    this.#commits.use((positions) => this.#sameTopic.commit(positions))
    this.#heart = new Heart(
      clock,
      { ...settings, joinTimeoutMs: settings.rebalanceTimeoutMs + settings.connectTimeoutMs },
      {
        onLost: (error) => this.#lost(error),
        onExpelled: (error) => this.#expelled(error),
        onRebalance: () => this.#shareIsOver(),
        onSilence: (error) => host.onAnswer(error),
      },
    )
    this.#heart.use(() => this.#beat())
    this.#joined.promise.catch(() => {})
  }

  async open(): Promise<void> {
    const { topic } = this.#spec
    try {
      this.#heart.membership.joining()
      this.#heart.start()
      this.#run().catch((error: unknown) => this.#lost(error))
      await this.#joined.promise
      await ended(this.#host.clock, FIRST_FETCH_MS, this.#fetches.heard)
      if (this.#life === 'lost') throw new Error('the subscription was lost as it began')
      this.#life = 'open'
    } catch (error) {
      this.#lost(error)
      // The topic was provisioned before; a broker that has just started may not know it yet.
      if (hasType(error, 'UNKNOWN_TOPIC_OR_PARTITION'))
        throw transportError('unavailable', `topic "${topic}" is not known to the broker (yet)`, topic, error)
      throw toTransportError(error, `subscribing to "${topic}"`, topic)
    }
  }

  pause(): void {
    this.#isPaused = true
    this.#term?.setPaused(true)
  }

  resume(): void {
    this.#isPaused = false
    this.#term?.setPaused(false)
  }

  /** A lost member has nothing to flush: the next one need not wait for its connections to end. */
  async close(): Promise<void> {
    if (this.#life !== 'lost') await this.ended()
  }

  ended(): Promise<void> {
    return this.#end(new Error('the subscription was closed'), true)
  }

  // ---- terms

  async #run(): Promise<void> {
    while (this.#ended === undefined) {
      this.#heart.membership.joining()
      const joined = await this.#session.join((after) => this.#requireLife(after))
      this.#heart.membership.joined()
      this.#isShareOver = false
      this.#beatAt = this.#host.clock.monotonic()
      this.#host.onAnswer()
      const term = await this.#begin(joined)
      if (term === undefined) continue
      await term.rejoin.promise
      await this.#handOver(term)
    }
  }

  /** A broker that is away is waited for once it was there; who opens it tries again on his own. */
  #requireLife(after?: unknown): void {
    if (this.#ended !== undefined) throw new Error('the subscription has ended')
    if (this.#life === 'opening' && (after instanceof ConnectFailed || after instanceof AggregateError)) throw after
  }

  /** Resolves with nothing when the share was gone before it could be used: join again. */
  async #begin(joined: Term): Promise<RunningTerm | undefined> {
    const { clock, cluster, logger } = this.#host
    const { topic, groupId } = this.#spec
    const positions = await this.#whenKnown(joined.partitions)
    if (positions === undefined || this.#ended !== undefined || this.#isShareOver) return undefined
    const term = new RunningTerm(joined, {
      ...this.#spec,
      cluster,
      clock,
      isCertain: () => this.#heart.membership.isCertain(),
      fetching: fetcherOptions(this.#spec, this.#host.settings),
      deliver: (delivery) => this.#receiver.deliver(delivery),
      onProgress: (assigned) => this.#onProgress(assigned),
      onReleased: (assigned) => this.#lentAgain.add(assigned),
      onStalled: (stall) => this.#receiver.stalled?.(stall),
      onHeard: (partition, offset, highWatermark) => {
        this.#displacements.heard(partition, offset, highWatermark)
        this.#fetches.answered(partition, offset)
      },
      onUnknown: () => this.#sameTopic.doubt(),
      isSame: () => this.#sameTopic.isSame(),
      onAnswer: (error) => this.#host.onAnswer(error),
      onLost: (error) => this.#lost(error),
      onOutOfRange: (partition, offset) => this.#displacements.outOfRange(partition, offset),
    })
    this.#term = term
    this.#fetches.begin(joined.partitions)
    if (this.#isPaused) term.setPaused(true)
    term.start(positions)
    this.#watchPartitions(term)
    logger.debug({ topic, group: groupId, partitions: joined.partitions }, 'joined a Kafka group')
    this.#joined.resolve()
    return term
  }

  /** Waits for leaders and coordinators, for as long as the place is kept. @throws what will not pass */
  async #whenKnown(partitions: readonly number[]): Promise<ReadonlyMap<number, number> | undefined> {
    const { clock } = this.#host
    for (
      let pauseMs: number = RETRY.firstMs;
      this.#ended === undefined && !this.#isShareOver;
      pauseMs = Math.min(2 * pauseMs, RETRY.longestMs)
    ) {
      try {
        return await this.#positions(partitions)
      } catch (error) {
        if (isExpelled(error) || hasType(error, 'REBALANCE_IN_PROGRESS')) return undefined
        if (error instanceof KafkaRefusal && !isPassing(error.type)) throw error
        this.#host.onAnswer(error)
        await clock.sleep(pauseMs)
      }
    }
    return undefined
  }

  /** Where to begin: what the group has committed, else the first that there is. */
  async #positions(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    if (this.#spec.startAt !== undefined)
      return new Map(partitions.map((partition) => [partition, this.#carried.positionOf(partition)]))
    if (partitions.length === 0) return new Map()
    const committed = new Map(await this.#session.committed(partitions))
    this.#sameTopic.begin(committed.keys())
    const { cluster } = this.#host
    const { topic } = this.#spec
    const missing = new Set(partitions.filter((partition) => !committed.has(partition)))
    if (missing.size === 0) return committed
    const { partitions: all } = await cluster.freshTopic(topic)
    const wanted = all.filter(({ partition }) => missing.has(partition))
    for (const [leader, each] of Map.groupBy(wanted, (one) => one.leader)) {
      const request = listOffsets(
        topic,
        each.map(({ partition }) => partition),
        EARLIEST,
        READ_UNCOMMITTED,
      )
      for (const [partition, first] of await cluster.call(leader, request, 'fetch')) committed.set(partition, first)
    }
    return committed
  }

  /** The leader shares out anew when there are more than it shared out. */
  #watchPartitions(term: RunningTerm): void {
    const { clock, cluster } = this.#host
    if (!term.joined.isLeader) return
    clock.setTimer(PARTITIONS_MS, () => {
      if (this.#term !== term || this.#ended !== undefined) return
      cluster
        .freshTopic(this.#spec.topic)
        .then(({ partitions }) => {
          if (partitions.length > term.joined.shared) term.rejoin.resolve()
        })
        .catch(() => {})
        .finally(() => this.#watchPartitions(term))
    })
  }

  /** Waits until what handlers work on is settled and committed, about two thirds of the rebalance timeout at most. */
  async #handOver(term: RunningTerm): Promise<void> {
    const { clock, settings } = this.#host
    const { assignment } = term
    this.#heart.membership.leaving()
    term.hold()
    this.#receiver.recall()
    await ended(clock, Math.floor(settings.rebalanceTimeoutMs * 0.6), finishStarted(assignment))
    if (!assignment.isWithdrawn) await ended(clock, Math.min(FLUSH_MS, settings.rebalanceTimeoutMs / 6), this.#flush())
    this.#carried.remember(assignment)
    this.#commits.reset()
    term.end(new Error('the group is rebalancing: the partition may have gone to another member'))
    if (this.#term === term) this.#term = undefined
  }

  // ---- the place in the group

  async #beat(): Promise<void> {
    const { clock, settings } = this.#host
    if (!this.#session.isPlaced || clock.monotonic() - this.#beatAt < settings.heartbeatIntervalMs) return
    this.#beatAt = clock.monotonic()
    const sentAt = this.#heart.membership.now()
    try {
      await this.#session.heartbeat()
    } catch (error) {
      // The coordinator is about to be another one: no reason to share out anew.
      if (!(error instanceof KafkaRefusal) || !isPassing(error.type)) throw error
      this.#host.onAnswer(error)
      return
    }
    this.#heart.membership.confirmed(sentAt)
    this.#host.onAnswer()
  }

  /** Unsettled messages come back through the broker: there is nothing to wait for. */
  #expelled(error: unknown): void {
    this.#term?.assignment.withdraw(toError(error))
    this.#shareIsOver()
  }

  /** Joining anew reads what the group has committed, which is nothing. */
  #remade(): void {
    const { topic, groupId } = this.#spec
    this.#host.logger.warn({ topic, group: groupId }, 'the topic was deleted and made again: reading from the first')
    this.#commits.reset()
    this.#expelled(new Error('the topic was deleted and made again'))
  }

  #shareIsOver(): void {
    this.#isShareOver = true
    this.#term?.rejoin.resolve()
  }

  #onProgress(assigned: AssignedPartition): void {
    const position = assigned.tracker.position
    if (this.#spec.startAt === undefined && position !== undefined) this.#commits.mark(assigned.partition, position)
  }

  async #flush(): Promise<void> {
    await this.#commits.flush().catch(() => this.#commits.flush())
  }

  // ---- the end

  #lost(error: unknown): void {
    if (this.#ended !== undefined) return
    const reason = toError(error)
    const wasOpen = this.#life === 'open'
    this.#life = 'lost'
    this.#host.onAnswer(reason)
    this.#joined.reject(reason)
    this.#term?.assignment.withdraw(reason)
    void this.#end(reason, false)
    if (wasOpen) this.#receiver.lost(toTransportError(error, `consuming "${this.#spec.topic}"`, this.#spec.topic))
  }

  #end(reason: Error, flush: boolean): Promise<void> {
    this.#ended ??= Promise.resolve().then(() => this.#shutDown(reason, flush))
    return this.#ended
  }

  async #shutDown(reason: Error, flush: boolean): Promise<void> {
    const { clock, cluster } = this.#host
    const term = this.#term
    this.#heart.stop()
    this.#fetches.stop()
    term?.hold()
    if (flush && term?.assignment.isWithdrawn === false) await ended(clock, FLUSH_MS, this.#flush())
    this.#commits.reset()
    term?.end(reason)
    this.#joined.reject(reason)
    await ended(clock, CLOSE_MS, this.#session.leave())
    cluster.close()
    term?.rejoin.resolve()
    await this.#host.onEnd()
  }
}

/** Several keys of a partition are worked on at once: what one of them left undone below the others is done too. */
async function finishStarted(assignment: Assignment): Promise<void> {
  await assignment.settled()
  for (let round = 0; round < GAP_ROUNDS && assignment.lendGaps(); round++) await assignment.settled()
}

function fetcherOptions(
  spec: MemberSpec,
  { maxWaitMs, requestTimeoutMs, maxBatchBytes }: MemberSettings,
): FetcherSettings {
  const { topic, partitions, prefetch, evenShares } = spec
  return {
    topic,
    window: evenShares === true ? Math.ceil(prefetch / partitions) : prefetch,
    maxWaitMs,
    requestTimeoutMs,
    maxBatchBytes,
    ...fetchSizes(spec),
  }
}
