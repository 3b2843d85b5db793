/**
 * One kafkajs consumer for one subscription.
 *
 *   opening -> joining -> member --rebalance--> handing over -> joining -> member ...
 *                           \_ close() or lost, from anywhere: ended
 *
 * Batches are queued per assigned partition at once and kafkajs moves on; what is lent and how far it is finished is
 * ours (`Assignment`), and so are commits (`Commits`): the lowest unfinished offset, never the fastest finisher's.
 * Before every join the gate (`gatedAssigner`) holds kafkajs until what is lent is settled and committed, so that no key
 * is in two places. kafkajs' own recovery is used while it works; when it crashes, stops, or falls silent for a session
 * timeout, the subscription is lost and the binder makes a new one.
 */

import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { BinderError } from '../../errors.ts'
import { ended } from '../../transport/kit/deadline.ts'
import type { Receiver } from '../../transport/transport.ts'
import { within } from '../deadline.ts'
import type { Member, MemberEvents, MemberSpec } from '../driver.ts'
import { hasType, transportError } from '../errors.ts'
import type { AssignedPartition } from '../group/assigned-partition.ts'
import { Assignment } from '../group/assignment.ts'
import { CarryOver } from '../group/carry-over.ts'
import { Commits } from '../group/commits.ts'
import { Displacements } from '../group/displacements.ts'
import { Fetches } from '../group/fetches.ts'
import { Heart } from '../group/heart.ts'
import { LentAgain } from '../group/lent-again.ts'
import { otherTopics, type Sharer } from '../group/round-robin.ts'
import { Stalls } from '../group/stalls.ts'
import { type JoinGate } from './assigner.ts'
import type { Crash, EndedBatch, GroupJoin, KafkaBatchPayload, KafkaConsumer, TopicOffsets } from './client.ts'
import { connectWithin } from './deadline.ts'
import { toTransportError } from './errors.ts'
import { FetchGate } from './fetch-gate.ts'
import type { KafkaOptions } from './options.ts'
import type { Fetched, FetchListener } from './patches/fetch-reader.ts'

/** Error code of the protocol. kafkajs continues at the first existing offset, without telling the caller. */
const OFFSET_OUT_OF_RANGE = 1
const FLUSH_MS = 3_000
const CLOSE_MS = 5_000
const CRASH_MS = 500
/** A second round is needed only if the binder returns messages again. */
const GAP_ROUNDS = 3

export interface ConsumerHost extends MemberEvents {
  readonly options: KafkaOptions
  readonly clock: Clock
  readonly logger: Logger
  createConsumer(
    spec: MemberSpec,
    beforeJoin: JoinGate,
    onFetched: FetchListener,
    onShare: (members: readonly Sharer[]) => void,
  ): KafkaConsumer
  /** How long opening waits for the first answer of each partition, to know what stands still. @default it does not wait */
  readonly firstFetchMs?: number | undefined
}

export class KafkaSubscription implements Member {
  readonly #spec: MemberSpec
  readonly #host: ConsumerHost
  readonly #receiver: Receiver
  readonly #consumer: KafkaConsumer
  readonly #fetching: FetchGate
  readonly #commits: Commits
  readonly #heart: Heart
  readonly #stalls: Stalls
  readonly #fetches = new Fetches()
  readonly #displacements: Displacements
  readonly #joined = Promise.withResolvers<void>()
  readonly #carried: CarryOver
  readonly #lentAgain: LentAgain
  #assignment: Assignment | undefined
  /** Topics that members read beside this one, when this one has led the last join. */
  #others: readonly string[] = []
  #running: Promise<void> = Promise.resolve()
  /** State of the membership: lends and fetches only while it is `kept`. */
  #place: 'kept' | 'rebalancing' | 'handing-over' = 'kept'
  #life: 'opening' | 'open' | 'lost' = 'opening'
  #ended: Promise<void> | undefined

  constructor(spec: MemberSpec, host: ConsumerHost, receiver: Receiver) {
    const { clock, options, logger } = host
    this.#spec = spec
    this.#host = host
    this.#receiver = receiver
    this.#carried = new CarryOver(spec.startAt)
    this.#displacements = new Displacements(spec.topic, (each) => receiver.displaced?.(each))
    this.#lentAgain = new LentAgain(clock, () => this.#assignment)
    this.#consumer = host.createConsumer(
      spec,
      (attempt) => this.#beforeJoin(attempt),
      (fetched) => this.#onFetched(fetched),
      (members) => (this.#others = otherTopics(spec.topic, members)),
    )
    this.#fetching = new FetchGate(this.#consumer, spec.topic, clock, partitionWindow(spec))
    this.#stalls = new Stalls(spec.topic, clock, this.#fetching, (each) => receiver.stalled?.(each))
    this.#commits = new Commits({
      topic: spec.topic,
      clock,
      intervalMs: options.commitIntervalMs,
      logger,
      onCommitted: (positions) => this.#assignment?.committed(positions),
    })
    const joinTimeoutMs = options.rebalanceTimeoutMs + options.connectTimeoutMs
    this.#heart = new Heart(
      clock,
      { ...options, joinTimeoutMs },
      {
        onLost: (error) => this.#lost(error),
        onExpelled: (error) => this.#expelled(error),
        onRebalance: () => this.#holdForRebalance(),
        onSilence: (error) => host.onAnswer(error),
      },
    )
    this.#joined.promise.catch(() => {})
  }

  /** Resolves once the place in the group is taken. @throws TransportError */
  async open(): Promise<void> {
    const { clock, options } = this.#host
    const { topic } = this.#spec
    this.#listen()
    try {
      await connectWithin(clock, options, this.#consumer)
      const subscribing = this.#consumer.subscribe({ topics: [topic], fromBeginning: true })
      await within(clock, options.requestTimeoutMs, `looking up topic "${topic}"`, subscribing)
      this.#heart.membership.joining()
      this.#running = this.#run()
      this.#heart.start()
      await this.#joined.promise
      const { firstFetchMs } = this.#host
      if (firstFetchMs !== undefined) await ended(clock, firstFetchMs, this.#fetches.heard)
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
    this.#fetching.setPaused(true)
    this.#applyHold()
  }

  resume(): void {
    this.#fetching.setPaused(false)
    this.#applyHold()
  }

  /** A lost subscription has nothing to flush: the next one need not wait for its connections to end. */
  async close(): Promise<void> {
    if (this.#life !== 'lost') await this.ended()
  }

  /** Ends it if need be; resolves when kafkajs has let go, or has taken too long. */
  ended(): Promise<void> {
    return this.#end(new Error('the subscription was closed'), true)
  }

  // ---- kafkajs' callbacks

  #listen(): void {
    const consumer = this.#consumer
    consumer.on('consumer.heartbeat', () => this.#onHeartbeat())
    consumer.on('consumer.group_join', ({ payload }) => this.#onJoin(payload as GroupJoin))
    consumer.on('consumer.crash', ({ payload }) => this.#lost((payload as Crash).error))
    consumer.on('consumer.end_batch_process', ({ payload }) => this.#onEndedBatch(payload as EndedBatch))
    // A crash stops the consumer first and says why later, if it gets that far.
    consumer.on('consumer.stop', () => {
      this.#host.clock.setTimer(CRASH_MS, () => this.#lost(this.#heart.because('the consumer stopped')))
    })
  }

  async #run(): Promise<void> {
    try {
      await this.#consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: this.#spec.partitions,
        eachBatch: (payload) => this.#onBatch(payload),
      })
    } catch (error) {
      this.#lost(error)
    }
  }

  #onHeartbeat(): void {
    this.#heart.membership.confirmed()
    this.#host.onAnswer()
    // The coordinator moved, say, and came back: no rebalance after all.
    if (this.#place !== 'rebalancing') return
    this.#place = 'kept'
    this.#applyHold()
  }

  #onJoin({ memberAssignment }: GroupJoin): void {
    this.#assignment?.withdraw(new Error('the group was joined anew'))
    if (this.#ended !== undefined) return
    this.#heart.membership.joined()
    this.#host.onAnswer()
    const partitions = memberAssignment[this.#spec.topic] ?? []
    this.#place = 'kept'
    this.#assignment = new Assignment(partitions, this.#spec, {
      isCertain: () => this.#heart.membership.isCertain(),
      deliver: (delivery) => this.#receiver.deliver(delivery),
      onProgress: (assigned) => this.#onProgress(assigned),
      onReleased: (assigned) => this.#lentAgain.add(assigned),
      onRoom: () => this.#fetching.refresh(),
    })
    this.#stalls.reset()
    const given = Object.keys(memberAssignment).filter((each) => each !== this.#spec.topic)
    this.#stalls.shared(this.#spec.groupId, [...this.#others, ...given])
    this.#others = []
    this.#fetching.reset()
    this.#fetching.apply()
    this.#applyHold()
    this.#seek(partitions)
    this.#fetches.begin(partitions)
    this.#host.logger.debug({ topic: this.#spec.topic, group: this.#spec.groupId, partitions }, 'joined a Kafka group')
    this.#joined.resolve()
  }

  #onFetched(fetched: Fetched): void {
    const { partition } = fetched.answer
    if (fetched.topic !== this.#spec.topic || this.#ended !== undefined) return
    if (this.#assignment?.partitions.has(partition) !== true) return
    const { offset, answer } = fetched
    if (answer.errorCode === OFFSET_OUT_OF_RANGE) this.#displacements.outOfRange(partition, offset)
    else if (answer.errorCode === 0) this.#displacements.heard(partition, offset, answer.highWatermark)
    this.#stalls.heard(fetched)
    this.#fetches.answered(partition, fetched.offset)
  }

  async #onBatch(payload: KafkaBatchPayload): Promise<void> {
    const { batch } = payload
    this.#heart.use(() => payload.heartbeat())
    this.#commits.use((positions) => payload.commitOffsetsIfNecessary(offsetsOf(this.#spec.topic, positions)))
    const assignment = this.#assignment
    const assigned = assignment?.partitions.get(batch.partition)
    if (assignment === undefined || assigned === undefined || payload.isStale() || this.#isHeld()) return
    if (this.#carried.isLate(batch)) return
    const { size } = assignment.partitions
    const mayTake = await this.#fetching.room(assigned, size)
    if (!mayTake || this.#assignment !== assignment || assignment.isWithdrawn) return
    payload.resolveOffset(batch.lastOffset())
    assigned.append(batch)
    assignment.lend(assigned)
    // kafkajs fetches again once this resolves: records of the next answer would be decoded, and would wait beside these.
    if (!this.#isHeld()) await this.#fetching.room(assigned, size)
  }

  /** Records that kafkajs consumed itself are finished, too: otherwise they would seem to wait. */
  #onEndedBatch({ topic, partition, batchSize, lastOffset }: EndedBatch): void {
    const assigned = this.#assignment?.partitions.get(partition)
    const fetchedOffset = this.#fetches.startOf(partition)
    if (batchSize > 0 || topic !== this.#spec.topic || assigned === undefined || fetchedOffset === undefined) return
    // kafkajs has moved on with it, past what has come back with the new assignment.
    if (this.#carried.isLate({ partition, fetchedOffset }))
      this.#lost(new Error(`a fetch of partition ${partition} was answered after the group was joined anew`))
    else if (!this.#isHeld()) {
      assigned.skip(Number(lastOffset) + 1)
      this.#onProgress(assigned)
    }
  }

  /** A group that commits nothing goes on from its own memory. */
  #seek(partitions: readonly number[]): void {
    if (this.#spec.startAt === undefined) return
    for (const partition of partitions) {
      const offset = String(this.#carried.positionOf(partition))
      this.#consumer.seek({ topic: this.#spec.topic, partition, offset })
    }
  }

  // ---- what the partitions report

  #onProgress(assigned: AssignedPartition): void {
    const position = assigned.tracker.position
    if (this.#spec.startAt === undefined && position !== undefined) this.#commits.mark(assigned.partition, position)
  }

  // ---- giving partitions up

  /** kafkajs waits for this before each join, and each time it looks for the coordinator again: that counts as one join. */
  async #beforeJoin(attempt: number): Promise<void> {
    this.#refuseIfEnded()
    if (attempt > 1) return
    const assignment = this.#assignment
    if (assignment !== undefined) {
      this.#place = 'handing-over'
      this.#heart.membership.leaving()
      this.#holdForRebalance()
      await this.#handOver(assignment)
      this.#place = 'rebalancing'
    }
    this.#refuseIfEnded()
    this.#heart.membership.joining()
  }

  #refuseIfEnded(): void {
    if (this.#ended !== undefined)
      throw new BinderError('binder.kafka.join_refused', { message: 'the subscription has ended', retriable: false })
  }

  /** Waits until what handlers work on is settled and committed, about two thirds of the rebalance timeout at most. */
  async #handOver(assignment: Assignment): Promise<void> {
    const { clock, options } = this.#host
    this.#receiver.recall()
    await ended(clock, Math.floor(options.rebalanceTimeoutMs * 0.6), finishStarted(assignment))
    if (!assignment.isWithdrawn) await ended(clock, Math.min(FLUSH_MS, options.rebalanceTimeoutMs / 6), this.#flush())
    this.#carried.remember(assignment)
    this.#commits.reset()
    assignment.withdraw(new Error('the group is rebalancing: the partition may have gone to another member'))
    if (this.#assignment === assignment) this.#assignment = undefined
  }

  /** A batch that waited for room would wait forever, and kafkajs with it, which has to join anew. */
  #expelled(error: unknown): void {
    this.#assignment?.withdraw(toError(error))
    this.#fetching.leaveAll()
  }

  #holdForRebalance(): void {
    if (this.#place === 'kept') this.#place = 'rebalancing'
    this.#applyHold()
    this.#fetching.leaveAll()
  }

  #isHeld(): boolean {
    return this.#place !== 'kept' || this.#fetching.isPaused || this.#ended !== undefined
  }

  #applyHold(): void {
    this.#assignment?.hold(this.#isHeld())
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
    this.#assignment?.withdraw(reason)
    void this.#end(reason, false)
    if (wasOpen) this.#receiver.lost(toTransportError(error, `consuming "${this.#spec.topic}"`, this.#spec.topic))
  }

  #end(reason: Error, flush: boolean): Promise<void> {
    this.#ended ??= Promise.resolve().then(() => this.#shutDown(reason, flush))
    return this.#ended
  }

  async #shutDown(reason: Error, flush: boolean): Promise<void> {
    const { clock } = this.#host
    this.#heart.stop()
    this.#fetches.stop()
    this.#stalls.reset()
    this.#applyHold()
    this.#fetching.leaveAll()
    if (flush && this.#assignment?.isWithdrawn === false) await ended(clock, FLUSH_MS, this.#flush())
    this.#commits.reset()
    this.#assignment?.withdraw(reason)
    this.#joined.reject(reason)
    await ended(clock, CLOSE_MS, this.#disconnect())
    await this.#host.onEnd()
  }

  /** kafkajs cannot stop a consumer that is just starting, and would leave it in the group: first let it have started. */
  async #disconnect(): Promise<void> {
    await this.#running
    await this.#consumer.disconnect()
  }
}

/** Several keys of a partition are worked on at once: what one of them left undone below the others is done too. */
async function finishStarted(assignment: Assignment): Promise<void> {
  await assignment.settled()
  for (let round = 0; round < GAP_ROUNDS && assignment.lendGaps(); round++) await assignment.settled()
}

function offsetsOf(topic: string, positions: ReadonlyMap<number, number>): TopicOffsets {
  const partitions = Array.from(positions, ([partition, position]) => ({ partition, offset: String(position) }))
  return { topics: [{ topic, partitions }] }
}

/** How much of one partition may wait here. */
function partitionWindow({ prefetch, partitions, evenShares }: MemberSpec): number {
  return evenShares === true ? Math.ceil(prefetch / partitions) : prefetch
}
