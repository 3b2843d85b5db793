import type { Clock } from '../../../core/clock.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { CLOSED_TRANSPORT } from '../../transport/kit/transport-error-factory.ts'
import type { Receiver, Subscription, SubscriptionSpec, TransportHost } from '../../transport/transport.ts'
import type { AmqpChannel, AmqpConnection, AmqpMessage } from '../link/amqplib-types.ts'
import { assuranceOf, type ConnectionLiveness } from '../link/connection-liveness.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { BIND_MS } from '../topology/declare.ts'
import { failure, within } from '../transport-errors.ts'
import { fromAmqp } from '../wire/envelope.ts'
import type { RabbitDelivery } from './delivery.ts'
import { MessageLending } from './message-lending.ts'
import { PartitionSharing } from './partition-sharing.ts'
import { type ConsumerHost, QueueConsumer } from './queue-consumer.ts'

const ASK_AGAIN_MS = 100

export interface SubscriptionHost extends TransportHost {
  readonly connection: AmqpConnection
  readonly options: ResolvedRabbitOptions
  /** Returns why there is no connection, `undefined` while there is one. */
  connectionError(): Error | undefined
  /** Binds the queues of the group to their exchange, and recreates it when it is gone. @throws TransportError */
  rebind(): Promise<void>
  onClosed(): void
}

/**
 * A member of a group, or an anonymous reader: a consumer per queue, and one window over all of them.
 *
 * - *Prefetch.* The broker has no window over several queues that works on every queue type, so each consumer gets its share,
 *   rounded up, and at most `prefetch` deliveries are lent; the surplus from rounding waits here.
 * - *Bytes.* The broker has no byte window at all. While the held messages exceed the budget nothing more is lent, and acks are
 *   kept back for up to 10 s, which keeps the broker's window full: it sends nothing. The first window can still exceed it, and
 *   with slow handlers later ones can, by at most `prefetch` messages; lower `prefetch` for channels with large messages.
 * - *Pause* keeps the subscription: the consumers stay, up to a window of messages waits here, no message is overtaken. After 30
 *   minutes (RabbitMQ's `consumer_timeout`) the broker ends it; the binder subscribes again, still paused.
 * - *Sharing.* Members compare their shares periodically (`fair-partition-share.ts`); a consumer over the share is closed once
 *   its running handlers are done, or after `rebalanceTimeoutMs`, and opened again at the end of the queue's consumers.
 */
export class RabbitSubscription implements Subscription, ConsumerHost {
  readonly destination: string
  readonly consumerTag: string
  readonly clock: Clock
  readonly #host: SubscriptionHost
  readonly #spec: SubscriptionSpec
  readonly #receiver: Receiver
  readonly #consumers: readonly QueueConsumer[]
  readonly #closing: AbortController = new AbortController()
  #state: 'opening' | 'open' | 'closed' = 'opening'
  #failure: Error | undefined
  readonly #lending: MessageLending
  #closed: Promise<void> | undefined
  readonly #assurance: ConnectionLiveness
  #isAsking = false

  constructor(host: SubscriptionHost, spec: SubscriptionSpec, queues: readonly string[], receiver: Receiver) {
    this.#host = host
    this.clock = host.clock
    this.#spec = spec
    this.#receiver = receiver
    this.#assurance = assuranceOf(host.connection, host.clock)
    this.destination = spec.destination
    this.consumerTag = host.instance.slice(0, 60)
    const prefetch = Math.ceil(spec.prefetch / queues.length)
    this.#consumers = queues.map((queue) => new QueueConsumer(queue, Math.min(prefetch, 65_535), this))
    this.#lending = new MessageLending(spec, this.#consumers, {
      mayLend: () => this.#state === 'open' && this.isCertain(),
      deliver: (delivery) => receiver.deliver(delivery),
    })
  }

  /** Joins every queue. Deliveries start after the caller has the subscription. */
  async open(): Promise<void> {
    try {
      await this.#request(
        `consume from "${this.destination}"`,
        Promise.all(this.#consumers.map((consumer) => this.#openConsumer(consumer))),
      )
      if (this.#failure !== undefined) throw this.#failure
      if (this.#closing.signal.aborted) throw failure('closed', CLOSED_TRANSPORT, { destination: this.destination })
    } catch (error) {
      await this.close()
      throw error
    }
    this.#state = 'open'
    this.#lending.lendSoon()
    if (this.#shares) void this.#sharing().run()
    if (this.#spec.group !== null && this.#host.options.provision === 'create') void this.#keepBound()
  }

  pause(): void {
    this.#lending.pause()
  }

  resume(): void {
    this.#lending.resume()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  isOf(destination: string, group: string): boolean {
    return this.destination === destination && this.#spec.group === group
  }

  get #shares(): boolean {
    return this.#spec.group !== null && this.#consumers.length > 1 && this.#host.options.rebalanceMs > 0
  }

  /** Number of channels that it needs: one for each queue, and one to compare shares. */
  get channels(): number {
    return this.#consumers.length + (this.#shares ? 1 : 0)
  }

  /** Number of unsettled messages in this process. */
  get held(): number {
    return this.#lending.held
  }

  get holdsAcks(): boolean {
    return this.#lending.holdsAcks
  }

  read(message: AmqpMessage): EncodedMessage {
    const { clock, options } = this.#host
    return fromAmqp(message, this.destination, clock.now(), options.maxMessageBytes)
  }

  isCertain(): boolean {
    if (this.#assurance.isCertain()) return true
    void this.#ask()
    return false
  }

  /** Begins nothing until the broker answers, or the connection turns out to be lost. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    const { clock, logger } = this.#host
    const { destination } = this
    logger.warn({ destination }, standstill(this.#assurance.silence))
    while (this.#state === 'open' && !this.#assurance.isCertain()) {
      try {
        await this.#request('ask whether the place is kept', Promise.all(this.#consumers.map((each) => each.ask())))
        this.#assurance.answered()
      } catch {
        await clock.sleep(ASK_AGAIN_MS, this.#closing.signal).catch(() => {})
      }
    }
    this.#isAsking = false
    this.#lending.lend()
  }

  openChannel(): Promise<AmqpChannel> {
    return this.#request('open a channel', this.#host.connection.createChannel())
  }

  async closeChannel(channel: AmqpChannel): Promise<void> {
    const { clock, options } = this.#host
    try {
      await within(clock, options.closeTimeoutMs, 'close a channel', channel.close())
    } catch {
      // Already closed, or a broker that does not answer: its connection ends with the heartbeat.
    }
  }

  closed(queue: string): Error {
    const cause = this.#host.connectionError()
    const reason =
      cause === undefined ? `the channel of queue ${queue} was closed` : `the connection was lost: ${cause.message}`
    return failure('unavailable', `RabbitMQ: ${reason}`, { destination: this.destination, cause })
  }

  arrived(consumer: QueueConsumer, delivery: RabbitDelivery): void {
    this.#lending.arrived(consumer, delivery)
  }

  ended(_: QueueConsumer, { bytes }: RabbitDelivery, returned: boolean): void {
    this.#lending.ended(bytes, returned)
  }

  dropped(lent: number, lentBytes: number, waiting: number, waitingBytes: number): void {
    this.#lending.dropped(lent, lentBytes, waiting, waitingBytes)
  }

  broken(error: Error): void {
    if (this.#state === 'opening') this.#failure ??= error
    if (this.#state !== 'open') return
    void this.close()
    this.#receiver.lost(error)
  }

  async #openConsumer(consumer: QueueConsumer): Promise<void> {
    await consumer.open()
    // Closed meanwhile, perhaps because another consumer did not open: this one must not remain as a mute consumer.
    if (this.#state === 'closed') await consumer.leave()
  }

  #sharing(): PartitionSharing {
    return new PartitionSharing(this.#consumers, {
      ...this.#host,
      ...this.#spec,
      member: this,
      receiver: this.#receiver,
      closing: this.#closing.signal,
      isPaused: () => this.#lending.isPaused,
      request: (what, promise) => this.#request(what, promise),
      openConsumer: (consumer) => this.#openConsumer(consumer),
    })
  }

  /**
   * An operator, or a restore of definitions, can remove the exchange or a binding, while sends to the others would still
   * succeed.
   */
  async #keepBound(): Promise<void> {
    const { clock, logger } = this.#host
    const { destination } = this
    for (;;) {
      await clock.sleep(BIND_MS * (0.75 + Math.random() / 4), this.#closing.signal).catch(() => {})
      if (this.#closing.signal.aborted) return
      await this.#host.rebind().catch((err: unknown) => {
        if (this.#state === 'open') logger.warn({ err, destination }, 'could not bind the queues of a group again')
      })
    }
  }

  async #close(): Promise<void> {
    this.#state = 'closed'
    this.#closing.abort(new Error('the subscription is closed'))
    await Promise.all(this.#consumers.map((consumer) => consumer.leave()))
    this.#host.onClosed()
  }

  #request<T>(what: string, promise: Promise<T>): Promise<T> {
    return within(this.#host.clock, this.#host.options.requestTimeoutMs, what, promise)
  }
}

function standstill(silence: string): string {
  return (
    `nothing was heard from RabbitMQ for ${silence}: the process or its event loop stood still, or the broker is away; ` +
    'no message begins until it answers'
  )
}
