/**
 * The messages that one subscription lends to the binder: from several sources (partitions, queues), in turn, within one window.
 *
 *   source --take()--> lent --ack()------> settle(item)
 *                        |---release()--> putBack(item), and lent again
 *                        '---withdraw()-> nothing: its signal aborts, and later calls have no effect
 *
 * The order within a source is the source's. Freed capacity is collected for one turn of the event loop before `onRoom` requests
 * more, so that messages released together are all back in place before any of them is lent again.
 */
import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportDelivery } from '../transport.ts'
import { type Lender, LentDelivery } from './lent-delivery.ts'
import { PrefetchWindow } from './prefetch-window.ts'

/** A source's own record of a message. */
export interface Lendable {
  readonly message: EncodedMessage
  readonly bytes: number
  readonly redelivered: boolean | undefined
}

/** A source of messages, in order. */
export interface LoanSource<Item extends Lendable> {
  /** The next message, which is lent from now on; `undefined`: none is waiting, or none may be lent now. */
  take(): Item | undefined
  /** Its position, for people. */
  positionOf(item: Item): string
  settle(item: Item): void
  /** Returns it to its former position. */
  putBack(item: Item): void
}

export interface LendingEvents {
  deliver(delivery: TransportDelivery): void
  /** There may be capacity for more: call `lend`. */
  onRoom(): void
  /** Called when the first message is lent, and when none is lent any longer. */
  onBusy?(isBusy: boolean): void
  /** Called before a loan's state is read: it must call `withdraw` first if the loan is no longer valid. */
  onLook?(): void
}

export class Lending<Item extends Lendable> {
  readonly window: PrefetchWindow
  readonly #events: LendingEvents
  readonly #loans: Set<Loan<Item>> = new Set()
  #isPaused = false
  #isLending = false
  #isRoomAsked = false

  constructor(limits: { readonly prefetch: number; readonly prefetchBytes: number }, events: LendingEvents) {
    this.window = new PrefetchWindow(limits)
    this.#events = events
  }

  /** Lends from this source too, until the loan is withdrawn. */
  add(source: LoanSource<Item>): Loan<Item> {
    const loan: Loan<Item> = new Loan(source, this.#events, (item, isSettled) => this.#ended(loan, item, isSettled))
    this.#loans.add(loan)
    return loan
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** While paused, nothing new is lent. Lent messages stay lent. */
  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused
  }

  /** Lends one message from each source in turn while there is capacity. */
  lend(): void {
    if (!this.#begin()) return
    try {
      for (let isAny = true; isAny; ) {
        isAny = false
        for (const loan of this.#loans) if (this.#lendOne(loan)) isAny = true
      }
    } finally {
      this.#isLending = false
    }
  }

  /** Lends only from this source, which has received a message. */
  lendFrom(loan: Loan<Item>): void {
    if (!this.#begin()) return
    try {
      while (this.#lendOne(loan)) {}
    } finally {
      this.#isLending = false
    }
  }

  /** The transport redelivers its messages in its own way: the signal aborts, and settling has no effect any longer. */
  withdraw(loan: Loan<Item>, reason: Error): void {
    if (!this.#loans.delete(loan)) return
    const wasBusy = this.window.count > 0
    this.window.free(loan.lentBytes, loan.lent)
    loan.withdraw(reason)
    if (wasBusy && this.window.count === 0) this.#events.onBusy?.(false)
  }

  /** A receiver that requests more during a delivery gets it afterwards, in order. */
  #begin(): boolean {
    if (this.#isLending) {
      this.#roomSoon()
      return false
    }
    this.#isLending = true
    return true
  }

  #lendOne(loan: Loan<Item>): boolean {
    if (this.#isPaused || !this.window.isOpen || loan.isWithdrawn) return false
    const item = loan.source.take()
    if (item === undefined) return false
    if (this.window.count === 0) this.#events.onBusy?.(true)
    this.window.take(item.bytes)
    this.#events.deliver(loan.lend(item))
    return true
  }

  #ended(loan: Loan<Item>, item: Item, isSettled: boolean): void {
    this.window.free(item.bytes)
    if (this.window.count === 0) this.#events.onBusy?.(false)
    if (isSettled) loan.source.settle(item)
    else loan.source.putBack(item)
    this.#roomSoon()
  }

  #roomSoon(): void {
    if (this.#isRoomAsked) return
    this.#isRoomAsked = true
    queueMicrotask(() => {
      this.#isRoomAsked = false
      this.#events.onRoom()
    })
  }
}

/** A source from the view of one receiver. */
export class Loan<Item extends Lendable> implements Lender<Item> {
  readonly source: LoanSource<Item>
  readonly #events: LendingEvents
  readonly #onEnded: (item: Item, isSettled: boolean) => void
  readonly #withdrawn = new AbortController()
  /** State of the signal, read with each message: a field is cheaper. */
  #isWithdrawn = false
  #lent = 0
  #lentBytes = 0
  #onIdle: (() => void) | undefined

  constructor(source: LoanSource<Item>, events: LendingEvents, onEnded: (item: Item, isSettled: boolean) => void) {
    this.source = source
    this.#events = events
    this.#onEnded = onEnded
  }

  get lent(): number {
    return this.#lent
  }

  get lentBytes(): number {
    return this.#lentBytes
  }

  get signal(): AbortSignal {
    this.#events.onLook?.()
    return this.#withdrawn.signal
  }

  get isWithdrawn(): boolean {
    return this.#isWithdrawn
  }

  /** Resolves once none of its messages is lent, or it is withdrawn. For one waiter at a time. */
  async idle(): Promise<void> {
    if (this.#lent === 0 || this.isWithdrawn) return
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
  }

  lend(item: Item): TransportDelivery {
    this.#lent++
    this.#lentBytes += item.bytes
    return new LentDelivery(this, item, item.message, item.redelivered)
  }

  withdraw(reason: Error): void {
    this.#isWithdrawn = true
    this.#withdrawn.abort(reason)
    this.#onIdle?.()
  }

  positionOf(item: Item): string {
    return this.source.positionOf(item)
  }

  ended(item: Item, isSettled: boolean): void {
    if (this.#isWithdrawn) return
    this.#lent--
    this.#lentBytes -= item.bytes
    this.#onEnded(item, isSettled)
    if (this.#lent === 0) this.#onIdle?.()
  }
}
