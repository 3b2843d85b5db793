import type { Clock } from '../../../core/clock.ts'
import { ended } from '../../transport/kit/deadline.ts'
import type { Receiver } from '../../transport/transport.ts'
import type { MemberSpec } from '../driver.ts'
import { AnsweredFetches } from '../group/answered-fetches.ts'
import { partitionWindow } from '../group/fetch-buffer-limits.ts'
import type { MemberState } from '../group/member-lifecycle.ts'
import type { OffsetHandover } from '../group/offset-handover.ts'
import { OffsetResetDetector } from '../group/offset-reset-detector.ts'
import { PartitionLending } from '../group/partition-lending.ts'
import { RedeliveryPause } from '../group/redelivery-pause.ts'
import { Stalls } from '../group/stalls.ts'
import type { EndedBatch, KafkaBatchPayload, KafkaConsumer } from './client-types.ts'
import { FetchGate } from './fetch-gate.ts'
import type { Fetched } from './patches/fetch-reader.ts'

/** Error code of the protocol. kafkajs continues at the first existing offset without telling the caller. */
const OFFSET_OUT_OF_RANGE = 1

export interface IntakeFields {
  readonly clock: Clock
  readonly receiver: Receiver
  readonly progress: OffsetHandover
  readonly life: MemberState
  /** Tells whether no other member can have the partitions yet. */
  isCertain(): boolean
  /** Tells whether the membership is in doubt or being given up, during which nothing is taken or lent. */
  isHeld(): boolean
}

/**
 * Appends the batches of kafkajs to the current assignment, while there is capacity and the member has its place in the group.
 */
export class BatchIntake {
  readonly #spec: MemberSpec
  readonly #consumer: KafkaConsumer
  readonly #fields: IntakeFields
  readonly #fetching: FetchGate
  readonly #stalls: Stalls
  #displacements: OffsetResetDetector
  readonly #redeliveryPause: RedeliveryPause
  readonly #fetches = new AnsweredFetches()
  #lending: PartitionLending | undefined

  constructor(spec: MemberSpec, consumer: KafkaConsumer, fields: IntakeFields) {
    const { clock, receiver } = fields
    this.#spec = spec
    this.#consumer = consumer
    this.#fields = fields
    this.#fetching = new FetchGate(consumer, spec.topic, clock, partitionWindow(spec))
    this.#stalls = new Stalls(spec.topic, clock, this.#fetching, (each) => receiver.stalled?.(each))
    this.#displacements = this.#newDetector()
    this.#redeliveryPause = new RedeliveryPause(clock, () => this.#lending)
  }

  get lending(): PartitionLending | undefined {
    return this.#lending
  }

  /** Waits for the first answer about each partition, for at most `limitMs`. */
  async hear(limitMs: number | undefined): Promise<void> {
    if (limitMs !== undefined) await ended(this.#fields.clock, limitMs, this.#fetches.heard)
  }

  /** @param others topics that members of the group read besides this one */
  begin(partitions: readonly number[], others: readonly string[]): void {
    const { receiver, progress } = this.#fields
    this.#lending = new PartitionLending(partitions, this.#spec, {
      isCertain: () => this.#fields.isCertain(),
      deliver: (delivery) => receiver.deliver(delivery),
      onProgress: (assigned) => progress.mark(assigned),
      onReleased: (assigned) => this.#redeliveryPause.add(assigned),
      onRoom: () => this.#fetching.refresh(),
    })
    this.#displacements = this.#newDetector()
    this.#stalls.reset()
    this.#stalls.shared(this.#spec.groupId, others)
    this.#fetching.reset()
    this.#fetching.apply()
    this.applyHold()
    this.#seek(partitions)
    this.#fetches.begin(partitions)
  }

  #newDetector(): OffsetResetDetector {
    return new OffsetResetDetector(this.#spec.topic, (each) => this.#fields.receiver.displaced?.(each))
  }

  end(lending: PartitionLending, reason: Error): void {
    lending.withdraw(reason)
    if (this.#lending === lending) this.#lending = undefined
  }

  setPaused(paused: boolean): void {
    this.#fetching.setPaused(paused)
    this.applyHold()
  }

  applyHold(): void {
    this.#lending?.hold(this.#isHeld())
  }

  /** Leaves all batches: one that waits for capacity would wait forever, and so would kafkajs, which has to rejoin. */
  leaveAll(): void {
    this.#fetching.leaveAll()
  }

  /** Stops permanently: nothing is taken or lent any longer. */
  stop(): void {
    this.#fetches.stop()
    this.#stalls.reset()
    this.applyHold()
    this.leaveAll()
  }

  /** Records that the broker refuses commits, or, with `undefined`, accepts them again. */
  commitsRefused(error: Error | undefined): void {
    this.#stalls.commitsRefused(error)
  }

  onFetched(fetched: Fetched): void {
    const { partition } = fetched.answer
    if (fetched.topic !== this.#spec.topic || this.#fields.life.isOver) return
    if (this.#lending?.partitions.has(partition) !== true) return
    const { offset, answer } = fetched
    if (answer.errorCode === OFFSET_OUT_OF_RANGE) this.#displacements.outOfRange(partition, offset)
    else if (answer.errorCode === 0) this.#displacements.heard(partition, offset, answer.highWatermark)
    this.#stalls.heard(fetched)
    this.#fetches.answered(partition, fetched.offset)
  }

  async onBatch(payload: KafkaBatchPayload): Promise<void> {
    const { batch } = payload
    const lending = this.#lending
    const assigned = lending?.partitions.get(batch.partition)
    if (lending === undefined || assigned === undefined || payload.isStale() || this.#isHeld()) return
    if (this.#fields.progress.carried.isLate(batch)) return
    const { size } = lending.partitions
    const mayTake = await this.#fetching.room(assigned, size)
    if (!mayTake || lending.isWithdrawn) return
    payload.resolveOffset(batch.lastOffset())
    assigned.append(batch)
    lending.lend(assigned)
  }

  /** Marks records that kafkajs consumed itself as finished; otherwise they would seem to wait. */
  onEndedBatch({ topic, partition, batchSize, lastOffset }: EndedBatch): void {
    const { progress, life } = this.#fields
    const assigned = this.#lending?.partitions.get(partition)
    const fetchedOffset = this.#fetches.startOf(partition)
    if (batchSize > 0 || topic !== this.#spec.topic || assigned === undefined || fetchedOffset === undefined) return
    // kafkajs has moved past messages that returned with the new assignment.
    if (progress.carried.isLate({ partition, fetchedOffset }))
      life.lost(new Error(`a fetch of partition ${partition} was answered after the group was joined anew`))
    else if (!this.#isHeld()) {
      assigned.skip(Number(lastOffset) + 1)
      progress.mark(assigned)
    }
  }

  /** Sets the positions of a group that commits nothing from its own memory. */
  #seek(partitions: readonly number[]): void {
    if (this.#spec.startAt === undefined) return
    for (const partition of partitions) {
      const offset = String(this.#fields.progress.carried.positionOf(partition))
      this.#consumer.seek({ topic: this.#spec.topic, partition, offset })
    }
  }

  #isHeld(): boolean {
    return this.#fields.isHeld() || this.#fetching.isPaused
  }
}
