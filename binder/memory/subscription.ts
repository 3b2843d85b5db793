import { Lending, type Loan, type LoanSource } from '../transport/kit/lending.ts'
import type { Receiver, Subscription, SubscriptionSpec } from '../transport/transport.ts'
import type { Destination } from './broker-destinations.ts'
import type { Cursor, LentMessage, Reader } from './cursor.ts'

export interface SubscriptionEvents {
  /** The subscription starts to hold messages, or no longer holds any. */
  onBusy(isBusy: boolean): void
  onClose(subscription: MemorySubscription): void
}

/** A member of a group, or an anonymous reader, with its share of the partitions. */
export class MemorySubscription implements Subscription, Reader {
  readonly #receiver: Receiver
  readonly #events: SubscriptionEvents
  readonly #lending: Lending<LentMessage>
  readonly #loans: Map<Cursor, Loan<LentMessage>> = new Map()
  #closed = false

  constructor(spec: SubscriptionSpec, receiver: Receiver, events: SubscriptionEvents) {
    this.#receiver = receiver
    this.#events = events
    this.#lending = new Lending(spec, {
      deliver: (delivery) => receiver.deliver(delivery),
      onRoom: () => this.#lending.lend(),
      onBusy: (isBusy) => events.onBusy(isBusy),
    })
  }

  /** Reads this cursor, once its present reader has settled or released its messages. */
  take(cursor: Cursor): void {
    if (!this.#loans.has(cursor)) this.#loans.set(cursor, this.#lending.add(new CursorSource(cursor, this)))
    cursor.moveTo(this)
  }

  /** Gives some cursors to another member. */
  recall(): void {
    this.#receiver.recall()
  }

  wake(cursor: Cursor): void {
    const loan = this.#loans.get(cursor)
    if (loan !== undefined) this.#lending.lendFrom(loan)
  }

  pause(): void {
    this.#lending.setPaused(true)
  }

  resume(): void {
    this.#lending.setPaused(false)
    this.#lending.lend()
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
    for (const [cursor, loan] of this.#loans) {
      this.#lending.withdraw(loan, new Error('the subscription is over'))
      cursor.seize(this)
    }
    this.#loans.clear()
    this.#events.onClose(this)
  }
}

/** A cursor as seen by one of its readers: empty while another reader has it. */
class CursorSource implements LoanSource<LentMessage> {
  readonly #cursor: Cursor
  readonly #reader: Reader

  constructor(cursor: Cursor, reader: Reader) {
    this.#cursor = cursor
    this.#reader = reader
  }

  take(): LentMessage | undefined {
    return this.#cursor.reader === this.#reader ? this.#cursor.take() : undefined
  }

  positionOf({ offset }: LentMessage): string {
    return `partition ${this.#cursor.partition.index} offset ${offset}`
  }

  settle({ offset }: LentMessage): void {
    this.#cursor.settle(offset)
  }

  putBack({ offset }: LentMessage): void {
    this.#cursor.giveBack(offset)
  }
}

/** Distributes the partitions of a group over its members, round robin in the order in which they joined. */
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
