import { toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { TransportError } from '../errors.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/failure.ts'
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
import { BIND_MS, RabbitSubscription } from './consuming/subscription.ts'
import { CHANNELS, failure, replyCodeOf, TRANSPORT, toTransportError, within } from './failure.ts'
import { type AmqpChannel, type AmqpConnection, channelMaxOf } from './link/client.ts'
import { Link } from './link/connection.ts'
import { type RabbitTransportOptions, type ResolvedRabbitOptions, resolveRabbitOptions } from './options.ts'
import { RabbitPublisher } from './publishing/publisher.ts'
import { checkDestinations } from './topology/check.ts'
import { readyIn, requirePartitions } from './topology/count.ts'
import type { Ask } from './topology/declaration.ts'
import { DelayLadder } from './topology/delay.ts'
import { PlaceCheck } from './topology/place-check.ts'
import { exchangeOf } from './topology/places.ts'
import {
  declarationsOf,
  declareAll,
  existingCount,
  partsOf,
  provisionAnonymous,
  provisionDestination,
  settlingOf,
} from './topology/provision.ts'
import { Settling } from './topology/settling.ts'
import { queueOf, rotated } from './topology/topology.ts'

/** @throws TypeError / RangeError naming the option */
export function rabbitTransport(options: RabbitTransportOptions): Transport {
  return new RabbitTransport(resolveRabbitOptions(options))
}

class RabbitTransport implements Transport {
  readonly name = TRANSPORT
  readonly features: TransportFeatures
  /** All calls go through one queue and one channel (see publisher.ts), so any number keeps the order. */
  readonly publishConcurrency = 8
  readonly confirmsSingly = true
  readonly #options: ResolvedRabbitOptions
  /** Channels of others whose number of partitions was compared. */
  readonly #counted: Set<string> = new Set()
  /** Provisioned destinations, with every group ever named. */
  readonly #specs: Map<string, DestinationSpec> = new Map()
  readonly #subscriptions: Set<RabbitSubscription> = new Set()
  /** The queues that delay messages were declared. */
  #hasLadder = false
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
      partitionsOf: (destination) => this.#specs.get(destination)?.partitions,
      takesAnySize: (destination) => this.#specs.get(destination)?.deadLetters === true,
      reprovision: (destination) => this.#reprovision(destination),
    })
    this.#parts = { host, control, link, publisher, ladder, placeCheck: new PlaceCheck(options, host.logger) }
  }

  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    if (destinations.length === 0) return
    const { provision } = this.#options
    if (provision === 'check')
      await checkDestinations(destinations, this.#options, this.#attached().ladder, (what, ask) =>
        this.#onControl(what, ask),
      )
    if (provision !== 'none')
      await this.#attached().placeCheck.check(destinations, (what, ask) => this.#onControl(what, ask))
    const actual = provision === 'create' ? await this.#createAll(destinations) : destinations
    for (const spec of actual) this.#learn(spec)
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
    const { host, control } = this.#attached()
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
        rebind: () => this.#rebind(spec),
        onClosed: () => this.#subscriptions.delete(subscription),
      },
      spec,
      queues,
      receiver,
    )
    try {
      this.#requireChannels(connection, subscription)
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

  /** @throws TransportError `mismatch` when the connection has too few channels */
  #requireChannels(connection: AmqpConnection, { destination, channels }: RabbitSubscription): void {
    const most = channelMaxOf(connection)
    let used = 0
    for (const subscription of this.#subscriptions) used += subscription.channels
    if (used + channels + RESERVED_CHANNELS <= most) return
    const needs =
      `the binding of "${destination}" needs ${channels} channels (one for each partition, and one to share them), ${used} are in use and ` +
      `${RESERVED_CHANNELS} are kept for declarations and lag, but RabbitMQ allows ${most} on a connection (channel_max)`
    throw failure('mismatch', `${needs}. ${CHANNELS}`, { destination })
  }

  /** Another process may know more groups than this one: those that run bind their queues again before a message is sent. */
  async #reprovision(destination: string): Promise<void> {
    const spec = this.#specs.get(destination)
    if (spec === undefined) return
    this.#hasLadder = false
    const { logger } = this.#attached().host
    logger.error(
      { destination, groups: spec.groups },
      'an exchange of RabbitMQ was deleted: it is made again with the bindings of these groups; other groups get messages again when ' +
        'a member of them runs',
    )
    await this.provision([spec])
    if (this.#options.provision === 'create') await this.#pause(BIND_MS)
  }

  /** A binding that is there stays as it is. */
  async #rebind({ destination, partitions, group }: SubscriptionSpec): Promise<void> {
    const spec = { name: destination, partitions, groups: group === null ? [] : [group] }
    const queues = declarationsOf(spec, this.#options).filter((each) => each.kind === 'queue')
    if (queues.length === 0) return
    try {
      await this.#onControl(`bind the queues of "${destination}" again`, async (channel) => {
        for (const { name, exchange, routingKey } of queues) await channel.bindQueue(name, exchange, routingKey)
      })
    } catch (error) {
      if (replyCodeOf(toError(error).cause) !== NOT_FOUND) throw error
      this.#attached().host.logger.error(
        { destination, group },
        'an exchange or a queue of RabbitMQ was deleted: it is made again, with the bindings of this group',
      )
      await this.provision([this.#specs.get(destination) ?? spec])
    }
  }

  async lag(place: GroupPlace): Promise<number> {
    const { destination, partitions, group } = place
    const ask: Ask = (what, work) => this.#onControl(what, work)
    if (!this.#specs.has(destination) && !this.#counted.has(destination)) {
      await requirePartitions(ask, place, this.#options)
      this.#counted.add(destination)
    }
    const queues = Array.from({ length: partitions }, (_, n) => this.#queueOf(destination, group, n, partitions))
    let messages = await readyIn(ask, place, queues)
    for (const each of this.#subscriptions) if (each.isOf(destination, group)) messages += each.held
    return messages
  }

  async hasPlace({ destination, partitions, group }: GroupPlace): Promise<boolean> {
    try {
      await this.#onControl(`look for the queues of "${destination}" for "${group}"`, (channel) =>
        channel.checkQueue(this.#queueOf(destination, group, 0, partitions)),
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

  /** All that is new settles at once. @returns the destinations as they are */
  async #createAll(destinations: readonly DestinationSpec[]): Promise<readonly DestinationSpec[]> {
    const settling = new Settling((what, ask) => this.#onControl(what, ask))
    const actual: DestinationSpec[] = []
    for (const spec of destinations) {
      for (const { queue, settled } of settlingOf(spec, this.#options)) {
        if (settled === undefined) await settling.beginClassic(queue, spec.name)
        else await settling.begin(queue, settled)
      }
      actual.push(await this.#create(spec))
    }
    const delayed = destinations.filter(({ delays }) => delays === true).map(({ name }) => name)
    if (delayed.length > 0) await this.#createDelays(delayed, settling)
    await settling.end((durationMs) => this.#pause(durationMs))
    if (delayed.length > 0) this.#hasLadder = true
    return actual
  }

  /** @throws TransportError when the transport closes meanwhile */
  async #pause(durationMs: number): Promise<void> {
    const { clock } = this.#attached().host
    await clock.sleep(durationMs, this.#closing.signal).catch(() => this.#attached())
  }

  async #createDelays(names: readonly string[], settling: Settling): Promise<void> {
    const { ladder } = this.#attached()
    if (!this.#hasLadder) {
      await settling.begin(ladder.topLevel, ladder.settled)
      await this.#onControl('provision the delay levels', (channel) => declareAll(channel, ladder.declarations()))
    }
    for (const name of names) {
      const due = ladder.dueDeclaration(name, exchangeOf(name, this.#options.places))
      await settling.begin(due.name, ladder.dueSettled(name))
      await this.#onControl(`provision delays of "${name}"`, (channel) => declareAll(channel, [due], name))
    }
  }

  /** @returns the actual destination: without declared partitions it has the existing ones */
  async #create(spec: DestinationSpec): Promise<DestinationSpec> {
    const declare = (wanted: DestinationSpec): Promise<void> =>
      this.#onControl(`provision "${wanted.name}"`, (channel) => provisionDestination(channel, wanted, this.#options))
    try {
      await declare(spec)
      return spec
    } catch (error) {
      const existing = spec.assumed === true ? existingCount(toError(error).cause) : undefined
      if (existing === undefined) throw error
      const actual = { ...spec, partitions: existing }
      await declare(actual)
      return actual
    }
  }

  #queueOf(destination: string, group: string, partition: number, partitions: number): string {
    const existing = this.#options.places.get(destination)?.queues.get(group)
    return existing?.queue ?? queueOf(destination, group, partition, partitions)
  }

  /** A destination keeps every group ever named. */
  #learn(spec: DestinationSpec): void {
    const known = this.#specs.get(spec.name)
    const groups = new Set([...(known?.groups ?? []), ...spec.groups])
    const delays = spec.delays === true || known?.delays === true
    const deadLetters = spec.deadLetters === true || known?.deadLetters === true
    this.#specs.set(spec.name, { ...spec, groups: [...groups], delays, deadLetters })
  }

  async #queues(connection: AmqpConnection, spec: SubscriptionSpec): Promise<readonly string[]> {
    const { destination, partitions, group } = spec
    if (group !== null) {
      return rotated(partitions, this.#attached().host.instance).map((p) =>
        this.#queueOf(destination, group, p, partitions),
      )
    }
    let made: string | undefined
    try {
      return [
        await this.#on(connection, 'declare an anonymous queue', (channel) =>
          provisionAnonymous(channel, spec, this.#options.places, (queue) => (made = queue)),
        ),
      ]
    } catch (error) {
      if (made !== undefined) await this.#forget(connection, made)
      throw error
    }
  }

  /** Deletes a queue without readers, which would collect messages for as long as the connection lasts. Never rejects. */
  async #forget(connection: AmqpConnection, queue: string): Promise<void> {
    await this.#on(connection, `delete queue ${queue}`, (channel) => channel.deleteQueue(queue)).catch(() => {})
  }

  async #onControl<T>(what: string, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    return this.#on(await this.#attached().control.acquire(), what, work)
  }

  /** Works on a channel of its own, since whatever the broker does not like closes it. */
  async #on<T>(connection: AmqpConnection, what: string, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const { host, control } = this.#attached()
    const { requestTimeoutMs, closeTimeoutMs } = this.#options
    let channel: AmqpChannel | undefined
    try {
      channel = await within(host.clock, requestTimeoutMs, what, connection.createChannel())
      channel.on('error', () => {})
      return await within(host.clock, requestTimeoutMs, what, work(channel))
    } catch (cause) {
      const error = toTransportError(what, cause)
      if (error.kind === 'timeout') control.drop(connection, error)
      throw error
    } finally {
      if (channel !== undefined) {
        await within(host.clock, closeTimeoutMs, 'close a channel', closed(channel)).catch(() => {})
      }
    }
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
  readonly placeCheck: PlaceCheck
}

/** In what is described before the transport is attached to a service. */
const LADDER_OF_ANY = new DelayLadder('<service>')

const NOT_FOUND = 404
/** For declarations, lag and what else asks the broker beside the consumers. */
const RESERVED_CHANNELS = 8

const notAttached = (): TransportError => failure('closed', 'attach the transport first: give it to createBinder')

/** Closing a closed channel throws at once. */
async function closed(channel: AmqpChannel): Promise<void> {
  await channel.close()
}
