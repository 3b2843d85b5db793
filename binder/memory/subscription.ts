import type { EncodedMessage } from '../channel/message.ts'
import type { Receiver, Subscription, SubscriptionSpec, TransportDelivery } from '../transport/transport.ts'
import type { Destination } from './broker.ts'
import type { Cursor, Reader } from './cursor.ts'

/** One member of a group, or one anonymous reader, with its share of the partitions. */
export class MemorySubscription implements Subscription, Reader {
  readonly #spec: SubscriptionSpec
  readonly #receiver: Receiver
  readonly #onBusy: (isBusy: boolean) => void
  readonly #onClose: (subscription: MemorySubscription) => void
  /** One loan per cursor: aborted when the cursor goes to another member. */
  readonly #loans: Map<Cursor, AbortController> = new Map()
  #unsettled = 0
  #unsettledBytes = 0
  #paused = false
  #pumpScheduled = false
  #closed = false

  /** @param onBusy called when it begins to hold messages, and when it holds none any more */
  constructor(
    spec: SubscriptionSpec,
    receiver: Receiver,
    onBusy: (isBusy: boolean) => void,
    onClose: (subscription: MemorySubscription) => void,
  ) {
    this.#spec = spec
    this.#receiver = receiver
    this.#onBusy = onBusy
    this.#onClose = onClose
  }

  /** Reads this cursor, once its present reader is through with what it holds. */
  take(cursor: Cursor): void {
    if (!this.#loans.has(cursor)) this.#loans.set(cursor, new AbortController())
    cursor.moveTo(this)
  }

  /** Another member shall have some of our cursors. */
  recall(): void {
    this.#receiver.recall()
  }

  offer(message: EncodedMessage, offset: number, redelivered: boolean, cursor: Cursor): boolean {
    const loan = this.#loans.get(cursor)
    if (loan === undefined || this.#paused || this.#closed) return false
    if (this.#unsettled >= this.#spec.prefetch) return false
    if (this.#unsettled > 0 && this.#unsettledBytes >= this.#spec.prefetchBytes) return false
    if (this.#unsettled++ === 0) this.#onBusy(true)
    this.#unsettledBytes += message.body?.byteLength ?? 0
    this.#receiver.deliver(new MemoryDelivery(message, offset, redelivered, cursor, loan.signal, this))
    return true
  }

  /** Called once per delivery. */
  ended(delivery: MemoryDelivery, settled: boolean): void {
    this.#unsettled--
    this.#unsettledBytes -= delivery.message.body?.byteLength ?? 0
    if (this.#closed) return
    if (this.#unsettled === 0) this.#onBusy(false)
    if (settled) delivery.cursor.settle(delivery.offset)
    else delivery.cursor.giveBack(delivery.offset)
    this.#pumpSoon()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#pumpAll()
  }

  cut(): void {
    if (this.#closed) return
    this.#leave()
    this.#receiver.lost(new Error('the memory broker was interrupted'))
  }

  close(): Promise<void> {
    this.#leave()
    return Promise.resolve()
  }

  #leave(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#unsettled > 0) this.#onBusy(false)
    for (const [cursor, loan] of this.#loans) {
      loan.abort(new Error('the subscription is over'))
      cursor.seize(this)
    }
    this.#loans.clear()
    this.#onClose(this)
  }

  /** After the releases of one turn, so that what comes back comes back in order. */
  #pumpSoon(): void {
    if (this.#pumpScheduled) return
    this.#pumpScheduled = true
    queueMicrotask(() => {
      this.#pumpScheduled = false
      this.#pumpAll()
    })
  }

  #pumpAll(): void {
    for (const cursor of this.#loans.keys()) if (cursor.reader === this) cursor.pump()
  }
}

class MemoryDelivery implements TransportDelivery {
  readonly message: EncodedMessage
  readonly offset: number
  readonly redelivered: boolean
  readonly cursor: Cursor
  readonly signal: AbortSignal
  readonly #subscription: MemorySubscription
  #ended = false

  constructor(
    message: EncodedMessage,
    offset: number,
    redelivered: boolean,
    cursor: Cursor,
    signal: AbortSignal,
    subscription: MemorySubscription,
  ) {
    this.message = message
    this.offset = offset
    this.redelivered = redelivered
    this.cursor = cursor
    this.signal = signal
    this.#subscription = subscription
  }

  get position(): string {
    return `partition ${this.cursor.partition.index} offset ${this.offset}`
  }

  ack(): void {
    this.#end(true)
  }

  release(): void {
    this.#end(false)
  }

  #end(settled: boolean): void {
    if (this.#ended) return
    this.#ended = true
    this.#subscription.ended(this, settled)
  }
}

/** Shares the partitions of a group over its members, round robin in the order they joined. */
export class GroupMembers {
  readonly #destination: Destination
  readonly #group: string
  readonly #members: MemorySubscription[] = []

  constructor(destination: Destination, group: string) {
    this.#destination = destination
    this.#group = group
  }

  join(member: MemorySubscription): void {
    this.#members.push(member)
    this.#rebalance()
  }

  leave(member: MemorySubscription): void {
    const index = this.#members.indexOf(member)
    if (index >= 0) this.#members.splice(index, 1)
    this.#rebalance()
  }

  #rebalance(): void {
    if (this.#members.length === 0) return
    const moved = new Set<MemorySubscription>()
    for (const [index, partition] of this.#destination.partitions.entries()) {
      const cursor = partition.groupCursor(this.#group)
      const owner = this.#members[index % this.#members.length] as MemorySubscription
      const before = cursor.reader
      owner.take(cursor)
      if (before !== undefined && before !== owner)
        for (const member of this.#members) if (member === before) moved.add(member)
    }
    for (const member of moved) member.recall()
  }
}
