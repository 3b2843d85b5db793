import { type Clock, SECOND } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { AmqpChannel, AmqpMessage } from '../link/amqplib-types.ts'
import { closedBecause } from '../transport-errors.ts'
import { RabbitDelivery, type TagLender } from './delivery.ts'
import { WaitingLine } from './waiting-line.ts'

/** Maximum time that acks are kept back. A slow handler must not lose settled messages to RabbitMQ's `consumer_timeout`. */
const KEPT_ACK_MS = 10 * SECOND

/** Parts of the subscription that a consumer uses. */
export interface ConsumerHost {
  readonly clock: Clock
  /** Decodes a received message. Never throws. */
  read(message: AmqpMessage): EncodedMessage
  /** Returns the reason of a channel's end that the broker did not cause by an error. */
  closed(queue: string): Error
  readonly consumerTag: string
  /** True while acks are kept back, for a limited time, so that the broker sends nothing more. */
  readonly holdsAcks: boolean
  /** Tells whether the broker can have given lent messages to another member. */
  isCertain(): boolean
  openChannel(): Promise<AmqpChannel>
  closeChannel(channel: AmqpChannel): Promise<void>
  /** A message waits in `consumer`. */
  arrived(consumer: QueueConsumer, delivery: RabbitDelivery): void
  /** A loan ended; `returned`: the message waits in the consumer again. */
  ended(consumer: QueueConsumer, delivery: RabbitDelivery, returned: boolean): void
  /** A consumer's lent and waiting messages belong to the broker again. */
  dropped(lent: number, lentBytes: number, waiting: number, waitingBytes: number): void
  broken(error: Error): void
}

/**
 * One queue, consumed on its own channel. Closing that channel is the only step that returns all unsettled messages in their old
 * order *and* passes the active role on, both before the next member receives anything: cancelling first would let that member
 * overtake, requeueing first would redeliver the messages here. So a consumer leaves by closing its channel.
 *
 * Released messages wait here in their old places rather than on the broker, which would redeliver them at once.
 */
export class QueueConsumer implements TagLender {
  readonly queue: string
  readonly prefetch: number
  readonly #host: ConsumerHost
  readonly #lent: Set<RabbitDelivery> = new Set()
  readonly #waiting = new WaitingLine()
  /** A message came back since nothing was lent, so lent messages may not be in the order of their tags. */
  #cameBack = false
  /** Settled here, not yet acknowledged. */
  #settled: number[] = []
  #flushScheduled = false
  /** Cancels the timer of acks that are kept back. */
  #cancelKept: (() => void) | undefined
  #channel: AmqpChannel | undefined
  #loan: AbortController = new AbortController()
  #onIdle: (() => void) | undefined
  /** True after a message since it was opened: this member has the active role. */
  active = false
  /** True when it is about to leave: lends nothing more. */
  leaving = false

  constructor(queue: string, prefetch: number, host: ConsumerHost) {
    this.queue = queue
    this.prefetch = prefetch
    this.#host = host
  }

  get lent(): number {
    return this.#lent.size
  }

  get signal(): AbortSignal {
    return this.#loan.signal
  }

  isCertain(): boolean {
    return this.#host.isCertain()
  }

  /** Makes a request without an effect, whose answer proves that the broker has not given the place away. */
  async ask(): Promise<void> {
    await this.#channel?.prefetch(this.prefetch, false)
  }

  /** Joins the queue's consumers. */
  async open(): Promise<void> {
    const channel = await this.#host.openChannel()
    let error: Error | undefined
    channel.on('error', (cause: Error) => (error = closedBecause(cause)))
    channel.on('close', () => this.#broken(channel, error ?? this.#host.closed(this.queue)))
    this.#channel = channel
    this.#loan = new AbortController()
    await channel.prefetch(this.prefetch, false)
    await channel.consume(this.queue, (message) => this.#receive(channel, message), {
      consumerTag: this.#host.consumerTag,
    })
  }

  /** Takes the next delivery for the receiver, in the queue's order. */
  take(): RabbitDelivery | undefined {
    if (this.leaving) return undefined
    const delivery = this.#waiting.take()
    if (delivery === undefined) return undefined
    delivery.lent = true
    this.#lent.add(delivery)
    return delivery
  }

  settled(delivery: RabbitDelivery): void {
    if (!this.#lent.delete(delivery)) return
    this.#settled.push(delivery.tag)
    this.#flushSoon()
    this.#ended(delivery, false)
  }

  returned(delivery: RabbitDelivery): void {
    if (!this.#lent.delete(delivery)) return
    this.#waiting.putBack(delivery.again())
    this.#cameBack = true
    this.#ended(delivery, true)
  }

  /**
   * Acknowledges settled messages: with one frame up to the first unsettled one, later ones one by one, so that a slow handler
   * does not delay the others.
   */
  flush(): void {
    this.#cancelKept?.()
    this.#cancelKept = undefined
    if (this.#channel === undefined || this.#settled.length === 0) return
    const floor = Math.min(this.#lowestLent(), this.#waiting.first?.tag ?? Number.POSITIVE_INFINITY)
    let upTo = 0
    for (const tag of this.#settled) if (tag < floor && tag > upTo) upTo = tag
    if (upTo > 0) this.#ack(upTo, true)
    for (const tag of this.#settled) if (tag > floor) this.#ack(tag, false)
    this.#settled = []
  }

  /** Lends nothing more; resolves when nothing is lent. */
  idle(): Promise<void> {
    this.leaving = true
    if (this.#lent.size === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#onIdle = resolve))
  }

  /** Flushes, then returns the remaining messages and leaves the queue. Open loans are withdrawn. Bounded; never rejects. */
  async leave(): Promise<void> {
    this.flush()
    const channel = this.#channel
    this.#forget(new Error('the subscription left the queue'))
    if (channel !== undefined) await this.#host.closeChannel(channel)
    this.leaving = false
  }

  #receive(channel: AmqpChannel, message: AmqpMessage | null): void {
    if (channel !== this.#channel) return
    if (message === null) {
      this.#cancelled(channel)
      return
    }
    this.active = true
    const { deliveryTag, redelivered } = message.fields
    const delivery = new RabbitDelivery(this, this.#host.read(message), deliveryTag, redelivered)
    this.#waiting.push(delivery)
    this.#host.arrived(this, delivery)
  }

  /**
   * The broker ended the consumer, not the channel: settled messages can still be acknowledged, and the rest stays here until the
   * channel is closed.
   */
  #cancelled(channel: AmqpChannel): void {
    this.flush()
    this.#broken(channel, new Error(`RabbitMQ ended the consumer of queue ${this.queue}: the queue is gone or moved`))
    void this.#host.closeChannel(channel)
  }

  /** An acknowledgement up to a tag must not include a lent message, whenever it was lent. */
  #lowestLent(): number {
    if (!this.#cameBack) return this.#lent.values().next().value?.tag ?? Number.POSITIVE_INFINITY
    let lowest = Number.POSITIVE_INFINITY
    for (const { tag } of this.#lent) if (tag < lowest) lowest = tag
    return lowest
  }

  #ended(delivery: RabbitDelivery, returned: boolean): void {
    if (this.#lent.size === 0 && !returned) this.#cameBack = false
    this.#host.ended(this, delivery, returned)
    if (this.#lent.size > 0) return
    this.#onIdle?.()
    this.#onIdle = undefined
  }

  #flushSoon(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    setImmediate(() => {
      this.#flushScheduled = false
      if (!this.#host.holdsAcks) this.flush()
      else if (this.#settled.length > 0) this.#cancelKept ??= this.#host.clock.setTimer(KEPT_ACK_MS, () => this.flush())
    })
  }

  #ack(deliveryTag: number, allUpTo: boolean): void {
    try {
      this.#channel?.ack({ fields: { deliveryTag } }, allUpTo)
    } catch {
      // The channel is closed; its `close` event notifies the subscription, and the broker has the messages again.
    }
  }

  #broken(channel: AmqpChannel, error: unknown): void {
    if (this.#channel !== channel) return
    this.#forget(toError(error))
    this.#host.broken(toError(error))
  }

  #forget(reason: Error): void {
    this.#channel = undefined
    this.#cancelKept?.()
    this.#cancelKept = undefined
    this.active = false
    const waiting = this.#waiting.drain()
    const lent = [...this.#lent]
    for (const delivery of lent) delivery.lent = false
    this.#cameBack = false
    this.#settled = []
    this.#lent.clear()
    this.#host.dropped(lent.length, bytesOf(lent), waiting.length, bytesOf(waiting))
    if (lent.length > 0) this.#loan.abort(reason)
    this.#onIdle?.()
    this.#onIdle = undefined
  }
}

function bytesOf(deliveries: readonly RabbitDelivery[]): number {
  return deliveries.reduce((sum, { bytes }) => sum + bytes, 0)
}
