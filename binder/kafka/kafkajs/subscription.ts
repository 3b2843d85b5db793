/**
 * One kafkajs consumer for one subscription.
 *
 *   opening -> joining -> member --rebalance--> handing over -> joining -> member ...
 *                           \_ close() or lost, from anywhere: ended
 *
 * Batches are queued per assigned partition at once, and kafkajs continues. Lending and finishing messages (`PartitionLending`)
 * and commits (`Commits`) are ours: the lowest unfinished offset is committed, never that of the fastest handler. Before every
 * join the gate (`gatedAssigner`) holds kafkajs until lent messages are settled and committed, so that no key is in two places.
 * kafkajs' own recovery is used while it works; when it crashes, stops, or is silent for a session timeout, the subscription is
 * lost and the binder makes a new one.
 */

import type { Clock } from '../../../core/clock.ts'
import type { Instant } from '../../../core/elapsed-time.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { BinderError } from '../../errors.ts'
import { ended } from '../../transport/kit/deadline.ts'
import type { Receiver } from '../../transport/transport.ts'
import { within } from '../deadline.ts'
import type { Member, MemberEvents, MemberSpec } from '../driver.ts'
import { Heartbeat } from '../group/heartbeat.ts'
import { MemberState } from '../group/member-lifecycle.ts'
import { OffsetHandover } from '../group/offset-handover.ts'
import { otherTopics, type Sharer } from '../group/round-robin.ts'
import { BatchIntake } from './batch-intake.ts'
import type { Crash, EndedBatch, GroupJoin, KafkaBatchPayload, KafkaConsumer, TopicOffsets } from './client-types.ts'
import { connectWithin } from './connect-timeout.ts'
import { toTransportError } from './errors.ts'
import type { JoinGate } from './join-gate-assigner.ts'
import type { KafkaOptions } from './options.ts'
import type { FetchListener } from './patches/fetch-reader.ts'
import type { AskListener } from './patches/joins.ts'

const CLOSE_MS = 5_000
const CRASH_MS = 500

export interface ConsumerListeners {
  readonly beforeJoin: JoinGate
  readonly onFetched: FetchListener
  readonly onShare: (members: readonly Sharer[]) => void
  readonly onAsk: AskListener
}

export interface ConsumerHost extends MemberEvents {
  readonly options: KafkaOptions
  readonly clock: Clock
  readonly logger: Logger
  createConsumer(spec: MemberSpec, listeners: ConsumerListeners): KafkaConsumer
  /** How long opening waits for the first answer of each partition, to know which are blocked. @default it does not wait */
  readonly firstFetchMs?: number | undefined
}

export class KafkaSubscription implements Member {
  readonly #spec: MemberSpec
  readonly #host: ConsumerHost
  readonly #consumer: KafkaConsumer
  readonly #life: MemberState
  readonly #progress: OffsetHandover
  readonly #intake: BatchIntake
  readonly #heart: Heartbeat
  /** Topics that members read besides this one, if this member has led the last join. */
  #others: readonly string[] = []
  readonly #askedAt: { share?: Instant; heartbeat?: Instant } = {}
  #running: Promise<void> = Promise.resolve()
  /** State of the membership: it lends and fetches only while it is `kept`. */
  #place: 'kept' | 'rebalancing' | 'handing-over' = 'kept'

  constructor(spec: MemberSpec, host: ConsumerHost, receiver: Receiver) {
    const { clock, options, logger } = host
    this.#spec = spec
    this.#host = host
    this.#consumer = host.createConsumer(spec, {
      beforeJoin: (attempt) => this.#beforeJoin(attempt),
      onFetched: (fetched) => this.#intake.onFetched(fetched),
      onShare: (members) => (this.#others = otherTopics(spec.topic, members)),
      onAsk: (request) => (this.#askedAt[request] = this.#heart.membership.now()),
    })
    this.#life = new MemberState(spec, receiver, {
      toTransportError,
      onAnswer: (error) => host.onAnswer(error),
      current: () => this.#intake.lending,
      shutDown: (reason, flush) => this.#shutDown(reason, flush),
    })
    this.#progress = new OffsetHandover(spec, {
      ...options,
      clock,
      logger,
      current: () => this.#intake.lending,
      onCommitsRefused: (error) => this.#intake.commitsRefused(error),
      recall: () => receiver.recall(),
      isHeld: () => receiver.isHeld?.() === true,
    })
    this.#heart = new Heartbeat(
      clock,
      { ...options, joinTimeoutMs: options.rebalanceTimeoutMs + options.connectTimeoutMs },
      {
        onLost: (error) => this.#life.lost(error),
        onExpelled: (error) => this.#expelled(error),
        onRebalance: () => this.#holdForRebalance(),
        onSilence: (error) => host.onAnswer(error),
      },
    )
    this.#intake = new BatchIntake(spec, this.#consumer, {
      clock,
      receiver,
      progress: this.#progress,
      life: this.#life,
      isCertain: () => this.#heart.membership.isCertain(),
      isHeld: () => this.#place !== 'kept' || this.#life.isOver,
    })
  }

  open(): Promise<void> {
    this.#listen()
    return this.#life.open(
      () => this.#join(),
      () => this.#intake.hear(this.#host.firstFetchMs),
    )
  }

  async #join(): Promise<void> {
    const { clock, options } = this.#host
    const { topic } = this.#spec
    await connectWithin(clock, options, this.#consumer)
    const subscribing = this.#consumer.subscribe({ topics: [topic], fromBeginning: true })
    await within(clock, options.requestTimeoutMs, `looking up topic "${topic}"`, subscribing)
    this.#heart.membership.joining()
    this.#running = this.#consumer
      .run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: this.#spec.partitions,
        eachBatch: (payload) => this.#onBatch(payload),
      })
      .catch((error: unknown) => this.#life.lost(error))
    this.#heart.start()
  }

  pause(): void {
    this.#intake.setPaused(true)
  }

  resume(): void {
    this.#intake.setPaused(false)
  }

  finishGaps(over: AbortSignal): Promise<void> {
    return this.#progress.finishGaps(over)
  }

  close(): Promise<void> {
    return this.#life.close()
  }

  ended(): Promise<void> {
    return this.#life.ended()
  }

  // ---- callbacks of kafkajs

  #listen(): void {
    const consumer = this.#consumer
    consumer.on('consumer.heartbeat', () => this.#onHeartbeat())
    consumer.on('consumer.group_join', ({ payload }) => this.#onJoin(payload as GroupJoin))
    consumer.on('consumer.crash', ({ payload }) => this.#life.lost((payload as Crash).error))
    consumer.on('consumer.end_batch_process', ({ payload }) => this.#intake.onEndedBatch(payload as EndedBatch))
    // A crash stops the consumer first and reports the reason later, if at all.
    consumer.on('consumer.stop', () => {
      this.#host.clock.setTimer(CRASH_MS, () => this.#life.lost(this.#heart.because('the consumer stopped')))
    })
  }

  #onBatch(payload: KafkaBatchPayload): Promise<void> {
    this.#heart.use(() => payload.heartbeat())
    const { topic } = this.#spec
    this.#progress.commits.use((positions) => payload.commitOffsetsIfNecessary(offsetsOf(topic, positions)))
    return this.#intake.onBatch(payload)
  }

  #onHeartbeat(): void {
    this.#heart.membership.confirmed(this.#askedAt.heartbeat)
    this.#host.onAnswer()
    // The coordinator moved and returned, for example: no rebalance after all.
    if (this.#place !== 'rebalancing') return
    this.#place = 'kept'
    this.#intake.applyHold()
  }

  #onJoin({ memberAssignment }: GroupJoin): void {
    const { topic, groupId: group } = this.#spec
    const { lending } = this.#intake
    lending?.withdraw(new Error('the group was joined anew'))
    if (this.#life.isOver) return
    // kafkajs can pass `#beforeJoin` before another join ends, if it failed to read the metadata: fetches continue meanwhile.
    if (lending !== undefined) this.#progress.giveUp(lending)
    this.#heart.joined(this.#askedAt.share)
    this.#host.onAnswer()
    const partitions = memberAssignment[topic] ?? []
    const given = Object.keys(memberAssignment).filter((each) => each !== topic)
    this.#place = 'kept'
    this.#intake.begin(partitions, [...this.#others, ...given])
    this.#others = []
    this.#host.logger.debug({ topic, group, partitions }, 'joined a Kafka group')
    this.#life.joined()
  }

  // ---- giving partitions up

  /** kafkajs waits for this before each join, and again each time it looks up the coordinator, which counts as one join. */
  async #beforeJoin(attempt: number): Promise<void> {
    this.#refuseIfEnded()
    if (attempt > 1) return
    // Another join can end meanwhile and begin the next assignment: hand that over, too.
    for (let { lending } = this.#intake; lending !== undefined; { lending } = this.#intake) {
      this.#place = 'handing-over'
      this.#heart.membership.leaving()
      this.#holdForRebalance()
      await this.#progress.handOver(lending)
      this.#intake.end(lending, new Error('the group is rebalancing: the partition may have gone to another member'))
      this.#place = 'rebalancing'
    }
    this.#refuseIfEnded()
    this.#heart.membership.joining()
  }

  #refuseIfEnded(): void {
    if (this.#life.isOver)
      throw new BinderError('binder.kafka.join_refused', { message: 'the subscription has ended', retriable: false })
  }

  #expelled(error: unknown): void {
    this.#intake.lending?.withdraw(toError(error))
    this.#intake.leaveAll()
  }

  #holdForRebalance(): void {
    if (this.#place === 'kept') this.#place = 'rebalancing'
    this.#intake.applyHold()
    this.#intake.leaveAll()
  }

  // ---- the end

  async #shutDown(reason: Error, flush: boolean): Promise<void> {
    this.#heart.stop()
    this.#intake.stop()
    await this.#progress.end(flush)
    this.#intake.lending?.withdraw(reason)
    // kafkajs cannot stop a consumer that is just starting, and would leave it in the group: wait until it has started.
    const disconnected = this.#running.then(() => this.#consumer.disconnect())
    await ended(this.#host.clock, CLOSE_MS, disconnected)
    await this.#host.onEnd()
  }
}

function offsetsOf(topic: string, positions: ReadonlyMap<number, number>): TopicOffsets {
  const partitions = Array.from(positions, ([partition, position]) => ({ partition, offset: String(position) }))
  return { topics: [{ topic, partitions }] }
}
