import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportDelivery } from '../transport.ts'

/** Lender of a message, with `Item` as its own record. */
export interface Lender<Item> {
  /** Aborts when the loan is withdrawn. Read on each access. */
  readonly signal: AbortSignal
  positionOf(item: Item): string
  /** Called once per delivery. */
  ended(item: Item, isSettled: boolean): void
}

/** A message in the hands of the binder: settled or released once, what is called after that means nothing. */
export class LentDelivery<Item> implements TransportDelivery {
  readonly message: EncodedMessage
  readonly redelivered: boolean | undefined
  /** The lender's record of it, for code that knows the lender. */
  readonly item: Item
  readonly lender: Lender<Item>
  #hasEnded = false

  constructor(lender: Lender<Item>, item: Item, message: EncodedMessage, redelivered: boolean | undefined) {
    this.message = message
    this.redelivered = redelivered
    this.item = item
    this.lender = lender
  }

  get position(): string {
    return this.lender.positionOf(this.item)
  }

  get signal(): AbortSignal {
    return this.lender.signal
  }

  /** Settled or released. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  ack(): void {
    this.#end(true)
  }

  release(): void {
    this.#end(false)
  }

  #end(isSettled: boolean): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.lender.ended(this.item, isSettled)
  }
}
