import { SECOND } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import { ended } from '../../transport/kit/deadline.ts'
import { Window } from '../../transport/kit/window.ts'
import type { Receiver, Subscription, SubscriptionSpec, TransportHost } from '../../transport/transport.ts'
import { failure, toTransportError, within } from '../failure.ts'
import { type Assurance, assuranceOf } from '../link/assurance.ts'
import type { AmqpChannel, AmqpConnection, AmqpMessage } from '../link/client.ts'
import { Presence } from '../link/presence.ts'
import { surplus } from '../link/share.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { fromAmqp } from '../wire/envelope.ts'
import type { RabbitDelivery } from './delivery.ts'
import { type ConsumerHost, QueueConsumer } from './queue-consumer.ts'

const ASK_AGAIN_MS = 100
/** How often a member binds its queues again: a binding that is there stays as it is. */
export const BIND_MS: number = 5 * SECOND
/** A comparison that fails once may have met a broker that is busy. */
const FAILURES_TOLD = 2

export interface SubscriptionHost extends TransportHost {
  readonly connection: AmqpConnection
  readonly options: ResolvedRabbitOptions
  /** Why there is no connection, `undefined` while there is one. */
  connectionError(): Error | undefined
  /** Binds the queues of the group to their exchange, and makes that when it is gone. @throws TransportError */
  rebind(): Promise<void>
  onClosed(): void
}

/**
 * A member of a group, or an anonymous reader: a consumer per queue, and one window over all of them.
 *
 * - *Prefetch.* The broker has no window over several queues that works on every queue type, so each consumer gets its share, rounded up, and
 *   at most `prefetch` deliveries are lent; the surplus from rounding waits here.
 * - *Bytes.* The broker has no byte window at all. While the held messages exceed the budget nothing more is lent, and acks are kept back,
 *   which keeps the broker's window full: it sends nothing. The first window can still exceed it, by at most `prefetch` messages; lower
 *   `prefetch` for channels of large messages.
 * - *Pause* keeps the subscription: the consumers stay, up to a window of messages waits here, no message is overtaken. After 30 minutes
 *   (RabbitMQ's `consumer_timeout`) the broker ends it; the binder subscribes again, still paused.
 * - *Sharing.* Members compare their shares periodically (`share.ts`); a consumer over the share is closed once its running handlers are done,
 *   or have had `rebalanceTimeoutMs`, and opened again at the end of the line.
 */
export class RabbitSubscription implements Subscription, ConsumerHost {
  readonly destination: string
  readonly consumerTag: string
  readonly #host: SubscriptionHost
  readonly #spec: SubscriptionSpec
  readonly #receiver: Receiver
  readonly #consumers: readonly QueueConsumer[]
  readonly #closing: AbortController = new AbortController()
  #state: 'opening' | 'open' | 'closed' = 'opening'
  #failure: Error | undefined
  #paused = false
  #lending = false
  #lendScheduled = false
  readonly #window: Window
  #waiting = 0
  #waitingBytes = 0
  #closed: Promise<void> | undefined
  readonly #assurance: Assurance
  #isAsking = false

  constructor(host: SubscriptionHost, spec: SubscriptionSpec, queues: readonly string[], receiver: Receiver) {
    this.#host = host
    this.#spec = spec
    this.#window = new Window(spec)
    this.#receiver = receiver
    this.#assurance = assuranceOf(host.connection, host.clock)
    this.destination = spec.destination
    this.consumerTag = host.instance.slice(0, 60)
    const prefetch = Math.ceil(spec.prefetch / queues.length)
    this.#consumers = queues.map((queue) => new QueueConsumer(queue, Math.min(prefetch, 65_535), this))
  }

  /** Takes the place in every queue. Deliveries start after the caller has the subscription. */
  async open(): Promise<void> {
    try {
      await this.#request(
        `consume from "${this.destination}"`,
        Promise.all(this.#consumers.map((consumer) => this.#openConsumer(consumer))),
      )
      if (this.#failure !== undefined) throw this.#failure
    } catch (error) {
      await this.close()
      throw error
    }
    this.#state = 'open'
    this.#lendSoon()
    if (this.#shares) void this.#share()
    if (this.#spec.group !== null && this.#host.options.provision === 'create') void this.#keepBound()
  }

  pause(): void {
    this.#paused = true
    for (const consumer of this.#consumers) consumer.flush()
  }

  resume(): void {
    this.#paused = false
    this.#lend()
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

  /** How many channels of the connection it needs: one for each queue, and one to compare shares on. */
  get channels(): number {
    return this.#consumers.length + (this.#shares ? 1 : 0)
  }

  /** Handed to this process and not settled. */
  get held(): number {
    return this.#window.count + this.#waiting
  }

  get holdsAcks(): boolean {
    return !this.#paused && this.#window.bytes + this.#waitingBytes > this.#spec.prefetchBytes
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
    logger.warn(
      { destination },
      `nothing was heard from RabbitMQ for ${this.#assurance.silence}: the process or its event loop stood still, or the ` +
        'broker is away; no message begins until it answers',
    )
    while (this.#state === 'open' && !this.#assurance.isCertain()) {
      try {
        await this.#request('ask whether the place is kept', Promise.all(this.#consumers.map((each) => each.ask())))
        this.#assurance.answered()
      } catch {
        await clock.sleep(ASK_AGAIN_MS, this.#closing.signal).catch(() => {})
      }
    }
    this.#isAsking = false
    this.#lend()
  }

  openChannel(): Promise<AmqpChannel> {
    return this.#request('open a channel', this.#host.connection.createChannel())
  }

  async closeChannel(channel: AmqpChannel): Promise<void> {
    const { clock, options } = this.#host
    try {
      await within(clock, options.closeTimeoutMs, 'close a channel', channel.close())
    } catch {
      // Closed already, or a broker that does not answer: its connection dies by the heartbeat.
    }
  }

  closed(queue: string): Error {
    const cause = this.#host.connectionError()
    const reason =
      cause === undefined ? `the channel of queue ${queue} was closed` : `the connection was lost: ${cause.message}`
    return failure('unavailable', `RabbitMQ: ${reason}`, { destination: this.destination, cause })
  }

  arrived(consumer: QueueConsumer, delivery: RabbitDelivery): void {
    this.#waiting++
    this.#waitingBytes += delivery.bytes
    // Alone in the house: no need to look at every consumer.
    if (this.#waiting === 1 && !this.#lending && this.#mayLend()) this.#lendFrom(consumer)
    else this.#lend()
  }

  ended(_lane: QueueConsumer, { bytes }: RabbitDelivery, returned: boolean): void {
    const held = this.holdsAcks
    this.#window.free(bytes)
    if (returned) {
      this.#waiting++
      this.#waitingBytes += bytes
      this.#lendSoon()
      return
    }
    if (held) this.#flushHeld()
    if (this.#waiting > 0) this.#lend()
  }

  dropped(lent: number, lentBytes: number, waiting: number, waitingBytes: number): void {
    this.#window.free(lentBytes, lent)
    this.#waiting -= waiting
    this.#waitingBytes -= waitingBytes
    this.#flushHeld()
  }

  broken(error: Error): void {
    if (this.#state === 'opening') this.#failure ??= error
    if (this.#state !== 'open') return
    void this.close()
    this.#receiver.lost(error)
  }

  #flushHeld(): void {
    if (!this.holdsAcks) for (const consumer of this.#consumers) consumer.flush()
  }

  #mayLend(): boolean {
    return this.#state === 'open' && !this.#paused && this.#window.isOpen && this.isCertain()
  }

  /** Lends what waits, one from each consumer in turn, while the window is open. */
  #lend(): void {
    if (this.#lending) return
    this.#lending = true
    for (let found = true; found && this.#waiting > 0; ) {
      found = false
      for (const consumer of this.#consumers) {
        if (!this.#mayLend()) break
        if (this.#lendFrom(consumer)) found = true
      }
    }
    this.#lending = false
  }

  #lendFrom(consumer: QueueConsumer): boolean {
    const delivery = consumer.take()
    if (delivery === undefined) return false
    this.#waiting--
    this.#waitingBytes -= delivery.bytes
    this.#window.take(delivery.bytes)
    this.#receiver.deliver(delivery)
    return true
  }

  /** Not at once: what comes back in one turn shall all be in its place before any of it goes out again. */
  #lendSoon(): void {
    if (this.#lendScheduled) return
    this.#lendScheduled = true
    setImmediate(() => {
      this.#lendScheduled = false
      this.#lend()
    })
  }

  async #openConsumer(consumer: QueueConsumer): Promise<void> {
    await consumer.open()
    // Closed meanwhile, perhaps because another consumer did not open: this one must not stay behind as a mute consumer.
    if (this.#state === 'closed') await consumer.leave()
  }

  /** Compares shares until closed. */
  async #share(): Promise<void> {
    const { clock, options, logger } = this.#host
    let presence: Presence | undefined
    let failures = 0
    while (this.#state === 'open') {
      try {
        presence ??= await this.#join()
        await this.#compare(presence)
        if (failures >= FAILURES_TOLD) this.#receiver.stalled?.(undefined)
        failures = 0
      } catch (err) {
        if (this.#state === 'open') {
          logger.debug({ err, destination: this.destination }, 'could not compare partition shares')
          if (++failures === FAILURES_TOLD) this.#receiver.stalled?.({ reason: this.#unshared(err), isPassing: true })
        }
        if (presence !== undefined) await this.closeChannel(presence.channel)
        presence = undefined
      }
      await clock.sleep(options.rebalanceMs * (0.75 + Math.random() / 2), this.#closing.signal).catch(() => {})
    }
    if (presence !== undefined) await this.closeChannel(presence.channel)
  }

  #unshared(cause: unknown): Error {
    const { destination } = this
    const { message } = toTransportError(`compare partition shares of "${destination}"`, cause, destination)
    return failure(
      'unavailable',
      `${message} Until then some members of the group can have all partitions and others none.`,
      {
        destination,
        cause,
      },
    )
  }

  /** An operator, or a restore of definitions, can take the exchange or a binding away: sends to the others would still succeed. */
  async #keepBound(): Promise<void> {
    const { clock, logger } = this.#host
    const { destination } = this
    for (;;) {
      await clock.sleep(BIND_MS * (0.75 + Math.random() / 4), this.#closing.signal).catch(() => {})
      if (this.#state !== 'open') return
      await this.#host.rebind().catch((err: unknown) => {
        if (this.#state === 'open') logger.warn({ err, destination }, 'could not bind the queues of a group again')
      })
    }
  }

  async #compare(presence: Presence): Promise<void> {
    const active = this.#consumers.filter((consumer) => consumer.active).length
    const { members, idle } = await this.#request('count the members', presence.look(active === 0))
    const over = surplus({ partitions: this.#consumers.length, members, idle, active })
    if (over > 0 && !this.#paused && this.#state === 'open') await this.#giveUp(over)
  }

  async #join(): Promise<Presence> {
    const { destination, group } = this.#spec
    const channel = await this.openChannel()
    try {
      return await this.#request('join the group', Presence.join(channel, destination, group ?? ''))
    } catch (error) {
      // The reader may count as a member without a subscription behind it.
      await this.closeChannel(channel)
      throw error
    }
  }

  /** Passes the active role of some consumers on, those with the least to wait for. */
  async #giveUp(count: number): Promise<void> {
    const consumers = this.#consumers
      .filter((consumer) => consumer.active)
      .sort((a, b) => a.lent - b.lent || Math.random() - 0.5)
    const leaving = consumers.slice(0, count)
    const idle = leaving.map((consumer) => consumer.idle())
    this.#receiver.recall()
    await Promise.all(leaving.map((consumer, i) => this.#rejoin(consumer, idle[i] as Promise<void>)))
  }

  /** Messages whose handlers still run after `rebalanceTimeoutMs` are withdrawn, as for a lost channel. */
  async #rejoin(consumer: QueueConsumer, idle: Promise<void>): Promise<void> {
    await ended(this.#host.clock, this.#host.options.rebalanceTimeoutMs, idle)
    if (this.#state !== 'open') return
    await consumer.leave()
    if (this.#state !== 'open') return
    try {
      await this.#request(`consume from ${consumer.queue} again`, this.#openConsumer(consumer))
    } catch (error) {
      this.broken(toError(error))
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
