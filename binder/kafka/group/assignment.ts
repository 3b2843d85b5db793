import { setMaxListeners } from 'node:events'
import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportDelivery } from '../../transport/transport.ts'
import { decodeRecord } from '../wire/record.ts'
import { Lane, type Parcel } from './lane.ts'

export interface AssignmentLimits {
  readonly topic: string
  readonly prefetch: number
  readonly prefetchBytes: number
  /** Of the topic. */
  readonly partitions: number
  readonly evenShares?: boolean | undefined
}

export interface AssignmentEvents {
  deliver(delivery: TransportDelivery): void
  /** The lane's commit position moved. */
  onProgress(lane: Lane): void
  /** Something was given back and waits in its lane: lend it again, but not at once. */
  onReleased(lane: Lane): void
  /** Something was settled: there may be room. */
  onRoom(): void
}

/**
 * The partitions of one generation of the group, and what of them is lent to the binder. Ends with `withdraw`: after it
 * nothing is delivered and settling has no effect.
 *
 * Prefetch is shared: a lane may hold three times what is left free, so that one stuck lane leaves room for the others,
 * and a lane alone gets everything.
 */
export class Assignment {
  readonly lanes: ReadonlyMap<number, Lane>
  readonly #limits: AssignmentLimits
  readonly #events: AssignmentEvents
  readonly #withdrawn = new AbortController()
  /** Lanes with something to lend, in turn. Few, and moved with each message: a list is cheaper than a set. */
  readonly #ready: Lane[] = []
  #unsettled = 0
  #unsettledBytes = 0
  #held = false
  #lending = false
  #idle: (() => void) | undefined

  constructor(partitions: readonly number[], limits: AssignmentLimits, events: AssignmentEvents) {
    this.lanes = new Map(partitions.map((partition) => [partition, new Lane(partition)]))
    this.#limits = limits
    this.#events = events
    setMaxListeners(0, this.#withdrawn.signal)
  }

  /** Aborts when everything lent is withdrawn. One signal for all: it is never about one message alone. */
  get signal(): AbortSignal {
    return this.#withdrawn.signal
  }

  /** While held nothing is lent. What is lent stays lent. */
  hold(held: boolean): void {
    this.#held = held
    if (!held) this.lend()
  }

  get isWithdrawn(): boolean {
    return this.#withdrawn.signal.aborted
  }

  /** Ends the assignment; everything unsettled comes back through the broker. */
  withdraw(reason: Error): void {
    if (this.#withdrawn.signal.aborted) return
    this.#ready.length = 0
    this.#withdrawn.abort(reason)
    this.#idle?.()
  }

  /** Resolves when nothing is lent any more, or at `withdraw`. */
  async settled(): Promise<void> {
    if (this.#unsettled === 0 || this.#withdrawn.signal.aborted) return
    await new Promise<void>((resolve) => {
      this.#idle = resolve
    })
  }

  /** Lends what waits in a lane, as far as the limits allow. */
  lend(lane?: Lane): void {
    if (lane !== undefined && lane.waiting > 0 && !this.#ready.includes(lane)) this.#ready.push(lane)
    if (this.#lending) return
    this.#lending = true
    // A lane that was lent from goes to the end of the list and comes up again; one over its share is passed over.
    for (let i = 0; i < this.#ready.length && !this.#isFull(); ) {
      const each = this.#ready[i] as Lane
      if (this.#isOverShare(each)) {
        i++
        continue
      }
      this.#ready.splice(i, 1)
      const parcel = each.next()
      if (each.waiting > 0) this.#ready.push(each)
      if (parcel !== undefined) this.#lendOne(parcel)
    }
    this.#lending = false
  }

  /**
   * Lends what was left undone below something finished, although held: else the finished would come again with it.
   * Returns whether there was any.
   */
  lendGaps(): boolean {
    if (this.isWithdrawn) return false
    const gaps: Parcel[] = []
    for (const lane of this.lanes.values()) {
      for (let gap = this.#nextGap(lane, gaps); gap !== undefined; gap = this.#nextGap(lane, gaps)) gaps.push(gap)
    }
    for (const gap of gaps) this.#lendOne(gap)
    return gaps.length > 0
  }

  #nextGap(lane: Lane, taken: readonly Parcel[]): Parcel | undefined {
    return this.#unsettled + taken.length < this.#limits.prefetch ? lane.nextGap() : undefined
  }

  #isFull(): boolean {
    if (this.#held || this.#withdrawn.signal.aborted) return true
    if (this.#limits.evenShares === true) return false
    return this.#unsettled >= this.#limits.prefetch || this.#unsettledBytes >= this.#limits.prefetchBytes
  }

  #isOverShare(lane: Lane): boolean {
    const { prefetch, prefetchBytes, partitions, evenShares } = this.#limits
    if (evenShares === true)
      return lane.unsettled >= prefetch / partitions || lane.unsettledBytes >= prefetchBytes / partitions
    return lane.unsettled >= (this.lanes.size === 1 ? prefetch : 3 * (prefetch - this.#unsettled))
  }

  #lendOne(parcel: Parcel): void {
    parcel.lane.unsettled++
    parcel.lane.unsettledBytes += parcel.bytes
    this.#unsettled++
    this.#unsettledBytes += parcel.bytes
    const message = decodeRecord(this.#limits.topic, parcel.lane.partition, parcel.record)
    this.#events.deliver(new Delivery(message, parcel, this.signal, this.#settle))
  }

  readonly #settle = (parcel: Parcel, finished: boolean): void => {
    if (this.#withdrawn.signal.aborted) return
    parcel.lane.unsettled--
    parcel.lane.unsettledBytes -= parcel.bytes
    this.#unsettled--
    this.#unsettledBytes -= parcel.bytes
    if (finished) {
      if (parcel.lane.tracker.finish(parcel)) this.#events.onProgress(parcel.lane)
      this.lend()
    } else {
      parcel.lane.putBack(parcel)
      this.#events.onReleased(parcel.lane)
    }
    if (this.#unsettled === 0) this.#idle?.()
    this.#events.onRoom()
  }
}

class Delivery implements TransportDelivery {
  readonly message: EncodedMessage
  readonly signal: AbortSignal
  readonly redelivered: boolean | undefined
  readonly #parcel: Parcel
  #settle: ((parcel: Parcel, finished: boolean) => void) | undefined

  constructor(
    message: EncodedMessage,
    parcel: Parcel,
    signal: AbortSignal,
    settle: (parcel: Parcel, finished: boolean) => void,
  ) {
    this.message = message
    this.signal = signal
    this.redelivered = parcel.returned ? true : undefined
    this.#parcel = parcel
    this.#settle = settle
  }

  get position(): string {
    return `partition ${this.#parcel.lane.partition} offset ${this.#parcel.record.offset}`
  }

  ack(): void {
    this.#end(true)
  }

  release(): void {
    this.#end(false)
  }

  #end(finished: boolean): void {
    const settle = this.#settle
    this.#settle = undefined
    settle?.(this.#parcel, finished)
  }
}
