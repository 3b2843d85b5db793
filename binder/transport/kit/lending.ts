/**
 * What one subscription lends to the binder: messages of several sources (partitions, queues), in turn, within one window.
 *
 *   source --take()--> lent --ack()------> settle(item)
 *                        |---release()--> putBack(item), and out again
 *                        '---withdraw()-> nothing: its signal aborts, and whatever is called after that means nothing
 *
 * The order within a source is the source's. What frees room is gathered for a turn of the event loop before `onRoom` asks for
 * more, so that what is released together is all in its place before any of it goes out again.
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

/** Where messages come from, in order. */
export interface LoanSource<Item extends Lendable> {
  /** The next one, which is lent from now on; `undefined`: nothing waits, or nothing shall go out now. */
  take(): Item | undefined
  /** For people: where it stands. */
  positionOf(item: Item): string
  settle(item: Item): void
  /** Returns it to its former position. */
  putBack(item: Item): void
}

export interface LendingEvents {
  deliver(delivery: TransportDelivery): void
  /** There may be room for more: call `lend`. */
  onRoom(): void
  /** The lending starts to hold messages, or holds none any longer. */
  onBusy?(isBusy: boolean): void
  /** Called before a loan's state is read: `withdraw` it first if it no longer stands. */
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

  /** While paused nothing is lent. What is lent stays lent. */
  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused
  }

  /** Lends one from each source in turn while there is room. */
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

  /** Lends from this source alone: something has come into it. */
  lendFrom(loan: Loan<Item>): void {
    if (!this.#begin()) return
    try {
      while (this.#lendOne(loan)) {}
    } finally {
      this.#isLending = false
    }
  }

  /** Its messages come back in the transport's own way: its signal aborts, and settling has no effect any longer. */
  withdraw(loan: Loan<Item>, reason: Error): void {
    if (!this.#loans.delete(loan)) return
    const wasBusy = this.window.count > 0
    this.window.free(loan.lentBytes, loan.lent)
    loan.withdraw(reason)
    if (wasBusy && this.window.count === 0) this.#events.onBusy?.(false)
  }

  /** A receiver that asks for more while it is handed something gets it after that, in order. */
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

/** A source as one receiver has it. */
export class Loan<Item extends Lendable> implements Lender<Item> {
  readonly source: LoanSource<Item>
  readonly #events: LendingEvents
  readonly #onEnded: (item: Item, isSettled: boolean) => void
  readonly #withdrawn = new AbortController()
  /** State of the signal, read with each message: a field costs less. */
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

  /** Resolves once nothing of it is lent, or it is withdrawn. For one waiter at a time. */
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
