import { setMaxListeners } from 'node:events'
import { uncertainSignal } from '../../transport/kit/last-heard.ts'
import { type Lender, LentDelivery } from '../../transport/kit/lent-delivery.ts'
import { PrefetchWindow } from '../../transport/kit/prefetch-window.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import { decodeRecord } from '../wire/record.ts'
import { AssignedPartition, type Parcel } from './assigned-partition.ts'
import { WaitingBytes } from './fetch-buffer-limits.ts'
import { positionOf } from './position-text.ts'
import { type SettledOffsets, SettledRecords } from './settled-uncommitted-offsets.ts'

export interface PartitionLendingLimits {
  readonly topic: string
  readonly prefetch: number
  readonly prefetchBytes: number
  /** Number of partitions of the topic. */
  readonly partitions: number
  readonly evenShares?: boolean | undefined
  /** Offsets of the group that this process has settled but not committed. */
  readonly settled?: SettledOffsets | undefined
}

export interface PartitionLendingEvents {
  /** Tells whether no other member can have the partitions yet. */
  isCertain?(): boolean
  deliver(delivery: TransportDelivery): void
  /** The partition's commit position has moved. */
  onProgress(assigned: AssignedPartition): void
  /** A message was given back and waits in its partition: lend it again, but not at once. */
  onReleased(assigned: AssignedPartition): void
  /** A message was settled or committed, so there may be capacity. */
  onRoom(): void
}

/**
 * The partitions of one generation of the group, and their messages lent to the binder. Ends with `withdraw`: after it nothing is
 * delivered and settling has no effect.
 *
 * Prefetch is shared: a partition may hold three times the remaining capacity, so that one blocked partition leaves capacity for
 * the others, and a single partition gets everything.
 */
export class PartitionLending implements Lender<Parcel> {
  readonly partitions: ReadonlyMap<number, AssignedPartition>
  readonly #limits: PartitionLendingLimits
  readonly #events: PartitionLendingEvents
  readonly #withdrawn = new AbortController()
  /** State of the controller. Both are read several times for each message, and its own getters cost more than fields. */
  readonly #signal = this.#withdrawn.signal
  #isWithdrawn = false
  /** Partitions with messages to lend, in turn. Few, and moved with each message: a list is cheaper than a set. */
  readonly #ready: AssignedPartition[] = []
  readonly #window: PrefetchWindow
  #held = false
  #lending = false
  /** Resolved when nothing is lent, or at `withdraw`; several joins may wait at once. */
  #idle: PromiseWithResolvers<void> | undefined

  constructor(partitions: readonly number[], limits: PartitionLendingLimits, events: PartitionLendingEvents) {
    // Even shares count all partitions of the topic, assigned here or not.
    const sharing = limits.evenShares === true ? limits.partitions : partitions.length
    const waiting = new WaitingBytes({ ...limits, partitions: sharing })
    const { settled } = limits
    const newPartition = (partition: number): AssignedPartition =>
      new AssignedPartition(partition, waiting, settled && new SettledRecords(settled.take(partition)))
    this.partitions = new Map(partitions.map((partition) => [partition, newPartition(partition)]))
    this.#limits = limits
    this.#window = new PrefetchWindow(limits)
    this.#events = events
    setMaxListeners(0, this.#signal)
  }

  /** Aborts when all lent messages are withdrawn. One signal for all, because it never concerns only one message. */
  get signal(): AbortSignal {
    return this.#isWithdrawn || this.#events.isCertain?.() !== false ? this.#signal : uncertainSignal()
  }

  /** While true nothing is lent; lent messages stay lent. */
  hold(held: boolean): void {
    this.#held = held
    if (!held) this.lend()
  }

  get isWithdrawn(): boolean {
    return this.#isWithdrawn
  }

  /** Ends the assignment; the broker redelivers all unsettled messages. */
  withdraw(reason: Error): void {
    if (this.#isWithdrawn) return
    this.#isWithdrawn = true
    this.#keepSettled()
    this.#ready.length = 0
    this.#withdrawn.abort(reason)
    this.#stopWaits()
  }

  /** Records that the group has committed these positions. */
  committed(positions: ReadonlyMap<number, number>): void {
    const { settled } = this.#limits
    if (settled !== undefined) settled.isBeginning = false
    for (const [partition, position] of positions) this.partitions.get(partition)?.committed(position)
    if (!this.#isWithdrawn) this.#events.onRoom()
  }

  #keepSettled(): void {
    const { settled } = this.#limits
    if (settled === undefined) return
    for (const { partition, uncommitted } of this.partitions.values())
      if (uncommitted !== undefined) settled.keep(partition, uncommitted)
  }

  /** True while nothing is lent, and after `withdraw`. */
  get isSettled(): boolean {
    return this.#window.count === 0 || this.#isWithdrawn
  }

  /** Resolves when nothing is lent, or at `withdraw`. */
  async settled(): Promise<void> {
    if (this.isSettled) return
    this.#idle ??= Promise.withResolvers()
    await this.#idle.promise
  }

  #stopWaits(): void {
    this.#idle?.resolve()
    this.#idle = undefined
  }

  /** Lends the waiting messages of a partition within the limits. */
  lend(assigned?: AssignedPartition): void {
    if (assigned !== undefined && assigned.waiting > 0 && !this.#ready.includes(assigned)) this.#ready.push(assigned)
    if (this.#lending) return
    this.#lending = true
    // After lending, a partition moves to the end of the list; one over its share is skipped.
    for (let i = 0; i < this.#ready.length && !this.#isFull(); ) {
      const each = this.#ready[i] as AssignedPartition
      if (this.#isOverShare(each)) {
        i++
        continue
      }
      const parcel = each.next()
      if (each.takeSkipped()) this.#events.onProgress(each)
      const isLeft = (parcel !== undefined && this.#isGivenBack(parcel)) || each.waiting === 0
      if (isLeft || this.#ready.length > 1) this.#moveOn(i, !isLeft)
    }
    this.#lending = false
  }

  #moveOn(index: number, comesUpAgain: boolean): void {
    if (this.#isWithdrawn) return
    const [each] = this.#ready.splice(index, 1)
    if (comesUpAgain && each !== undefined) this.#ready.push(each)
  }

  /**
   * Delivers released messages below an already settled one, even while delivery is on hold. Otherwise the commit position stays
   * below them, and the settled messages above are redelivered.
   * @returns these messages
   */
  lendGaps(): readonly Parcel[] {
    if (this.isWithdrawn) return []
    const gaps: Parcel[] = []
    for (const assigned of this.partitions.values()) {
      for (let gap = this.#nextGap(assigned, gaps); gap !== undefined; gap = this.#nextGap(assigned, gaps))
        gaps.push(gap)
    }
    for (const gap of gaps) this.#lendOne(gap)
    return gaps
  }

  #nextGap(assigned: AssignedPartition, taken: readonly Parcel[]): Parcel | undefined {
    return this.#window.count + taken.length < this.#limits.prefetch ? assigned.nextGap() : undefined
  }

  #isFull(): boolean {
    if (this.#held || this.#isWithdrawn) return true
    if (this.#limits.evenShares === true) return false
    return !this.#window.isOpen
  }

  #isOverShare(assigned: AssignedPartition): boolean {
    const { prefetch, prefetchBytes, partitions, evenShares } = this.#limits
    if (evenShares === true)
      return assigned.unsettled >= prefetch / partitions || assigned.unsettledBytes >= prefetchBytes / partitions
    return assigned.unsettled >= (this.partitions.size === 1 ? prefetch : 3 * (prefetch - this.#window.count))
  }

  /** Lends a message. True if it came back at once: lending it again immediately would repeat that endlessly. */
  #isGivenBack(parcel: Parcel): boolean {
    const { assigned } = parcel
    const before = assigned.unsettled
    this.#lendOne(parcel)
    return assigned.unsettled === before && !parcel.done
  }

  #lendOne(parcel: Parcel): void {
    const { record } = parcel
    if (record === undefined) return
    parcel.assigned.unsettled++
    parcel.assigned.unsettledBytes += parcel.bytes
    this.#window.take(parcel.bytes)
    const message = decodeRecord(this.#limits.topic, parcel.assigned.partition, record)
    this.#events.deliver(new LentDelivery(this, parcel, message, parcel.returned ? true : undefined))
  }

  positionOf({ assigned, offset }: Parcel): string {
    return positionOf(assigned.partition, offset)
  }

  ended(parcel: Parcel, finished: boolean): void {
    if (this.#isWithdrawn) return
    parcel.assigned.unsettled--
    parcel.assigned.unsettledBytes -= parcel.bytes
    this.#window.free(parcel.bytes)
    if (finished) {
      if (parcel.assigned.finish(parcel)) this.#events.onProgress(parcel.assigned)
      this.lend()
    } else {
      parcel.assigned.putBack(parcel)
      this.#events.onReleased(parcel.assigned)
    }
    if (this.#window.count === 0) this.#stopWaits()
    this.#events.onRoom()
  }
}
