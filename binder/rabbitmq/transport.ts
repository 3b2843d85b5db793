import { toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { TransportError } from '../errors.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/transport-error-factory.ts'
import type {
  DestinationSpec,
  GroupPlace,
  PublishOutcome,
  PublishUntil,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from '../transport/transport.ts'
import { RabbitSubscription } from './consuming/subscription.ts'
import type { AmqpChannel, AmqpConnection } from './link/amqplib-types.ts'
import { requireChannels } from './link/channel-budget.ts'
import { ChannelPerRequest } from './link/channel-per-request.ts'
import { Link } from './link/connection.ts'
import { type RabbitTransportOptions, type ResolvedRabbitOptions, resolveRabbitOptions } from './options.ts'
import { RabbitPublisher } from './publishing/publisher.ts'
import { countIn, type QueueCounts, requirePartitions } from './topology/count.ts'
import type { Ask } from './topology/declare.ts'
import { DelayLadder } from './topology/delay-ladder.ts'
import { queueIn } from './topology/foreign-places.ts'
import { partsOf, provisionAnonymous } from './topology/provision.ts'
import { Provisioner } from './topology/provisioner.ts'
import { rotated } from './topology/topology-names.ts'
import { failure, replyCodeOf, TRANSPORT, toTransportError } from './transport-errors.ts'

/** @throws TypeError / RangeError naming the option */
export function rabbitTransport(options: RabbitTransportOptions): Transport {
  return new RabbitTransport(resolveRabbitOptions(options))
}

class RabbitTransport implements Transport {
  readonly name = TRANSPORT
  readonly features: TransportFeatures
  /** All calls to a destination use one queue and one channel (see publisher.ts), so any number keeps the order. */
  readonly publishConcurrency = 8
  readonly isolatesDestinations = true
  readonly confirmsSingly = true
  readonly #options: ResolvedRabbitOptions
  /** Channels of others whose number of partitions was compared. */
  readonly #counted: Set<string> = new Set()
  readonly #subscriptions: Set<RabbitSubscription> = new Set()
  #parts: Parts | undefined
  readonly #closing = new AbortController()
  #closed: Promise<void> | undefined

  constructor(options: ResolvedRabbitOptions) {
    this.#options = options
    this.features = Object.freeze({
      newGroupStartsAtEarliest: {
        missing: 'a queue gets only what is sent after its declaration: name the groups',
      },
      redeliveredFlag: true,
      durable: true,
      refusesUnroutable:
        options.unroutable === 'refuse' ? true : { missing: "rabbitTransport({ unroutable: 'accept' })" },
      tellsWholeLag: {
        missing: 'unsettled messages of other processes are not counted',
      },
      delaysByItself: true,
    })
  }

  attach(host: TransportHost): void {
    const options = this.#options
    const ladder = new DelayLadder(host.service)
    const control = new Link('consume', options, host, { onBlocked: () => {} })
    const link = new Link('publish', options, host, { onBlocked: (reason) => publisher.setBlocked(reason) })
    const publisher: RabbitPublisher = new RabbitPublisher(link, options, {
      ...host,
      ladder,
      partitionsOf: (destination) => provisioner.specOf(destination)?.partitions,
      takesAnySize: (destination) => provisioner.specOf(destination)?.deadLetters === true,
      hasGroups: (destination) => (provisioner.specOf(destination)?.groups.length ?? 0) > 0,
      reprovision: (destination) => provisioner.reprovision(destination),
    })
    const provisioner = new Provisioner(options, ladder, host.logger, {
      ask: (what, work) => this.#onControl(what, work),
      pause: (durationMs) => this.#pause(durationMs),
    })
    const channels = new ChannelPerRequest(control, host.clock, options)
    this.#parts = { host, control, link, publisher, ladder, provisioner, channels }
  }

  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    if (destinations.length > 0) await this.#attached().provisioner.provision(destinations)
  }

  describe(destination: DestinationSpec): readonly TopologyPart[] {
    return partsOf(destination, this.#options, this.#parts?.ladder ?? LADDER_OF_ANY)
  }

  cannotTake(message: EncodedMessage): TransportError | undefined {
    return this.#parts?.publisher.cannotTake(message)
  }

  publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]> {
    if (this.#parts !== undefined) return this.#parts.publisher.publish(messages, until)
    return Promise.resolve(messages.map(() => notAttached()))
  }

  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const { host, control, provisioner } = this.#attached()
    const groups = spec.group === null ? [] : [spec.group]
    await this.provision([{ name: spec.destination, partitions: spec.partitions, groups }])
    const connection = await control.acquire()
    const queues = await this.#queues(connection, spec)
    const subscription: RabbitSubscription = new RabbitSubscription(
      {
        ...host,
        connection,
        options: this.#options,
        connectionError: () => control.error,
        rebind: () => provisioner.rebind(spec),
        onClosed: () => this.#subscriptions.delete(subscription),
      },
      spec,
      queues,
      receiver,
    )
    try {
      requireChannels(connection, subscription, this.#subscriptions)
      this.#subscriptions.add(subscription)
      await subscription.open()
    } catch (cause) {
      const error = toTransportError(`subscribe to "${spec.destination}"`, cause, spec.destination)
      if (error.kind === 'timeout') control.drop(connection, error)
      else if (spec.group === null) for (const queue of queues) await this.#forget(connection, queue)
      throw error
    }
    return subscription
  }

  async lag(place: GroupPlace): Promise<number> {
    let { ready: messages } = await this.#count(place)
    for (const each of this.#subscriptions) if (each.isOf(place.destination, place.group)) messages += each.held
    return messages
  }

  /** A consumer leaves by closing its channel, which gives back its messages: without consumers, nothing is held. */
  async hasReaders(place: GroupPlace): Promise<boolean> {
    return (await this.#count(place)).consumers > 0
  }

  async #count(place: GroupPlace): Promise<QueueCounts> {
    const { destination, partitions } = place
    const ask: Ask = (what, work) => this.#onControl(what, work)
    if (this.#attached().provisioner.specOf(destination) === undefined && !this.#counted.has(destination)) {
      await requirePartitions(ask, place, this.#options)
      this.#counted.add(destination)
    }
    const queues = Array.from({ length: partitions }, (_, n) => queueIn(this.#options.places, place, n))
    return countIn(ask, place, queues)
  }

  async hasPlace(place: GroupPlace): Promise<boolean> {
    try {
      await this.#onControl(`look for the queues of "${place.destination}" for "${place.group}"`, (channel) =>
        channel.checkQueue(queueIn(this.#options.places, place, 0)),
      )
      return true
    } catch (error) {
      if (replyCodeOf(toError(error).cause) !== NOT_FOUND) throw error
      return false
    }
  }

  health(): TransportHealth {
    if (this.#closed !== undefined) return { status: 'down', detail: 'closed' }
    if (this.#parts === undefined) return { status: 'idle' }
    const { alarm } = this.#parts.publisher
    if (alarm !== undefined)
      return { status: 'down', detail: `RabbitMQ takes no messages for now (resource alarm: ${alarm})` }
    const both = [this.#parts.control.health(), this.#parts.link.health()]
    return (
      both.find(({ status }) => status === 'down') ?? both.find(({ status }) => status === 'up') ?? { status: 'idle' }
    )
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#parts === undefined) return
    const { publisher, control, link } = this.#parts
    this.#closing.abort()
    publisher.close()
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()))
    await Promise.all([control.close(), link.close()])
  }

  /** @throws TransportError when the transport closes meanwhile */
  async #pause(durationMs: number): Promise<void> {
    const { clock } = this.#attached().host
    await clock.sleep(durationMs, this.#closing.signal).catch(() => this.#attached())
  }

  async #queues(connection: AmqpConnection, spec: SubscriptionSpec): Promise<readonly string[]> {
    const { partitions, group } = spec
    const { places } = this.#options
    if (group !== null) {
      const order = rotated(partitions, this.#attached().host.instance)
      return order.map((partition) => queueIn(places, { ...spec, group }, partition))
    }
    let made: string | undefined
    const note = (queue: string): unknown => (made = queue)
    try {
      const declare = (channel: AmqpChannel) => provisionAnonymous(channel, spec, places, note)
      return [await this.#on(connection, 'declare an anonymous queue', declare)]
    } catch (error) {
      if (made !== undefined) await this.#forget(connection, made)
      throw error
    }
  }

  /** Deletes a queue without readers, which would collect messages as long as the connection lasts. Never rejects. */
  async #forget(connection: AmqpConnection, queue: string): Promise<void> {
    await this.#on(connection, `delete queue ${queue}`, (channel) => channel.deleteQueue(queue)).catch(() => {})
  }

  async #onControl<T>(what: string, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    return this.#on(await this.#attached().control.acquire(), what, work)
  }

  async #on<T>(connection: AmqpConnection, what: string, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    return this.#attached().channels.on(connection, what, work)
  }

  #attached(): Parts {
    if (this.#closed !== undefined) throw failure('closed', CLOSED_TRANSPORT)
    if (this.#parts === undefined) throw notAttached()
    return this.#parts
  }
}

interface Parts {
  readonly host: TransportHost
  /** Declares and consumes. Nothing is published on it, so that an alarm never stops acks. */
  readonly control: Link
  readonly link: Link
  readonly publisher: RabbitPublisher
  readonly ladder: DelayLadder
  readonly provisioner: Provisioner
  readonly channels: ChannelPerRequest
}

/** Used in descriptions before the transport is attached to a service. */
const LADDER_OF_ANY = new DelayLadder('<service>')

const NOT_FOUND = 404

const notAttached = (): TransportError => failure('closed', 'attach the transport first: give it to createBinder')
