import type { EncodedMessage } from '../../channel/message.ts'
import { uncertainSignal } from '../../transport/kit/last-heard.ts'
import type { TransportDelivery } from '../../transport/transport.ts'

/**
 * Receives a delivery when its loan ends. Identified by its tag, because the broker keeps the order; so `Lending` of other
 * transports is not used.
 */
export interface TagLender {
  readonly queue: string
  /** Aborts when currently lent messages are withdrawn. */
  readonly signal: AbortSignal
  /** Tells whether the broker can have given it to another member. */
  isCertain(): boolean
  settled(delivery: RabbitDelivery): void
  returned(delivery: RabbitDelivery): void
}

/** A message of a queue: unacknowledged on the broker, waiting here or lent to the receiver. */
export class RabbitDelivery implements TransportDelivery {
  readonly message: EncodedMessage
  readonly tag: number
  readonly bytes: number
  readonly redelivered: boolean
  /** True while the receiver has it. */
  lent = false
  readonly #lender: TagLender
  readonly #signal: AbortSignal

  constructor(lender: TagLender, message: EncodedMessage, tag: number, redelivered: boolean) {
    this.#lender = lender
    this.message = message
    this.tag = tag
    this.bytes = message.body?.byteLength ?? 0
    this.redelivered = redelivered
    this.#signal = lender.signal
  }

  get signal(): AbortSignal {
    return this.#signal.aborted || this.#lender.isCertain() ? this.#signal : uncertainSignal()
  }

  get position(): string {
    return `queue ${this.#lender.queue} delivery ${this.tag}`
  }

  ack(): void {
    if (!this.lent) return
    this.lent = false
    this.#lender.settled(this)
  }

  release(): void {
    if (!this.lent) return
    this.lent = false
    this.#lender.returned(this)
  }

  /** Returns the next loan of the same message: late calls on this one have no effect on it. */
  again(): RabbitDelivery {
    return new RabbitDelivery(this.#lender, this.message, this.tag, true)
  }
}
