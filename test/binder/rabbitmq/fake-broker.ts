import { EventEmitter } from 'node:events'
import type { AmqpConnection } from '../../support/inside/binder.ts'

/**
 * RabbitMQ as this adapter sees it through amqplib, for rare moments of a real one: an answer, a return, a close come
 * when the test says so. Strict where RabbitMQ is: acknowledging an unknown tag closes the channel with 406.
 */
export class FakeBroker {
  readonly connections: FakeConnection[] = []
  readonly exchanges: Set<string> = new Set()
  /** Operations that the user may not do, by the method, or with the exchange's name: closes the channel with 403. */
  readonly forbidden: Set<string> = new Set()
  /** Declarations, in this order: `exchange orders`, `queue orders:g`, `bind orders:g`. */
  readonly declared: string[] = []
  /** Queues whose declaration gets no answer, with the number of declarations. */
  readonly mute: Map<string, number> = new Map()
  /** Limit on channels of a connection. */
  channelMax = 2_047
  readonly #queues: Map<string, FakeQueue> = new Map()

  readonly connect = async (name: string): Promise<AmqpConnection> => {
    const connection = new FakeConnection(name, this)
    this.connections.push(connection)
    return connection as unknown as AmqpConnection
  }

  queue(name: string): FakeQueue {
    const queue = this.#queues.get(name) ?? new FakeQueue(name)
    this.#queues.set(name, queue)
    return queue
  }

  hasQueue(name: string): boolean {
    return this.#queues.has(name)
  }

  deleteQueue(name: string): void {
    this.#queues.delete(name)
  }

  queues(): readonly FakeQueue[] {
    return [...this.#queues.values()]
  }

  /** The latest connection for `consume` or `publish`. */
  latest(purpose: 'consume' | 'publish'): FakeConnection {
    return this.connections.findLast(({ name }) => name.endsWith(purpose)) as FakeConnection
  }

  /** The channel that everything is published on. */
  get publishing(): FakeChannel {
    return this.latest('publish').channels.findLast(({ isOpen }) => isOpen) as FakeChannel
  }
}

export interface Stored {
  readonly body: string
  redelivered: boolean
}

interface FakeConsumer {
  readonly channel: FakeChannel
  readonly tag: string
  readonly onMessage: (message: object | null) => void
}

/** Hands to its first consumer only. */
export class FakeQueue {
  readonly name: string
  readonly ready: Stored[] = []
  readonly consumers: FakeConsumer[] = []

  constructor(name: string) {
    this.name = name
  }

  put(...bodies: readonly string[]): void {
    for (const body of bodies) this.ready.push({ body, redelivered: false })
    this.serve()
  }

  serve(): void {
    const consumer = this.consumers[0]
    if (consumer === undefined) return
    for (const stored of this.ready.splice(0)) consumer.channel.hand(this, stored, consumer)
  }

  /** `basic.cancel`: ends the consumer, but not the channel and its unsettled messages. */
  cancelConsumers(): void {
    for (const { onMessage } of this.consumers.splice(0)) onMessage(null)
  }
}

export class FakeConnection extends EventEmitter {
  readonly name: string
  readonly channels: FakeChannel[] = []
  /** Connection with the field that amqplib keeps. */
  readonly connection: { channelMax: number }
  readonly #broker: FakeBroker

  constructor(name: string, broker: FakeBroker) {
    super()
    this.name = name
    this.#broker = broker
    this.connection = { channelMax: broker.channelMax }
  }

  async createChannel(): Promise<FakeChannel> {
    if (this.channels.filter(({ isOpen }) => isOpen).length >= this.connection.channelMax)
      throw new Error('No channels left to allocate')
    const channel = new FakeChannel(this.#broker)
    this.channels.push(channel)
    return channel
  }

  createConfirmChannel(): Promise<FakeChannel> {
    return this.createChannel()
  }

  async close(): Promise<void> {
    this.#end()
    this.emit('close')
  }

  /** Breaks the connection as amqplib does for missed heartbeats: `error`, then the channels' ends, then `close`. */
  break(error: Error): void {
    this.emit('error', error)
    this.#end()
    this.emit('close', error)
  }

  #end(): void {
    for (const channel of this.channels) channel.end()
  }
}

export interface Published {
  readonly exchange: string
  readonly routingKey: string
  readonly id: string | undefined
  readonly properties: { readonly messageId?: string }
  readonly onConfirm: (error: Error | null) => void
}

export class FakeChannel extends EventEmitter {
  isOpen = true
  /** Handed out and not acknowledged, by tag. */
  readonly out: Map<number, { readonly queue: FakeQueue; readonly stored: Stored }> = new Map()
  /** Every acknowledgement, as it came. */
  readonly acks: Array<readonly [tag: number, allUpTo: boolean]> = []
  /** Written and unanswered. */
  readonly published: Published[] = []
  readonly #broker: FakeBroker
  #lastTag = 0

  constructor(broker: FakeBroker) {
    super()
    this.#broker = broker
  }

  async assertExchange(name: string): Promise<void> {
    this.#requireAllowed(`assertExchange ${name}`)
    this.#broker.declared.push(`exchange ${name}`)
    this.#broker.exchanges.add(name)
  }

  async deleteExchange(name: string): Promise<void> {
    this.#broker.exchanges.delete(name)
  }

  async checkExchange(name: string): Promise<void> {
    if (!this.#broker.exchanges.has(name)) this.#missing(`exchange '${name}'`)
  }

  async checkQueue(name: string): Promise<void> {
    if (!this.#broker.hasQueue(name)) this.#missing(`queue '${name}'`)
  }

  async bindQueue(name: string, exchange: string): Promise<void> {
    this.#requireAllowed('bindQueue')
    if (!this.#broker.exchanges.has(exchange)) this.#missing(`exchange '${exchange}'`)
    this.#broker.declared.push(`bind ${name}`)
  }

  async deleteQueue(name: string): Promise<void> {
    if (!this.isOpen) throw illegal()
    this.#broker.deleteQueue(name)
  }

  async prefetch(): Promise<void> {}

  async assertQueue(given: string): Promise<object> {
    if (!this.isOpen) throw illegal()
    const name = given === '' ? `amq.gen-${this.#broker.queues().length}` : given
    const asked = this.#broker.mute.get(name)
    if (asked !== undefined) {
      this.#broker.mute.set(name, asked + 1)
      return new Promise(() => {})
    }
    this.#broker.declared.push(`queue ${name}`)
    const { ready, consumers } = this.#broker.queue(name)
    return { queue: name, messageCount: ready.length, consumerCount: consumers.length }
  }

  async consume(name: string, onMessage: FakeConsumer['onMessage']): Promise<{ consumerTag: string }> {
    this.#requireAllowed('consume')
    const queue = this.#broker.queue(name)
    const consumer = { channel: this, tag: `${name}-${queue.consumers.length}`, onMessage }
    queue.consumers.push(consumer)
    setImmediate(() => queue.serve())
    return { consumerTag: consumer.tag }
  }

  async cancel(tag: string): Promise<void> {
    this.#leave((consumer) => consumer.tag === tag)
  }

  hand(queue: FakeQueue, stored: Stored, { onMessage }: FakeConsumer): void {
    const deliveryTag = ++this.#lastTag
    this.out.set(deliveryTag, { queue, stored })
    const fields = { deliveryTag, redelivered: stored.redelivered }
    onMessage({ content: Buffer.from(stored.body), fields, properties: { messageId: stored.body, headers: {} } })
  }

  ack({ fields: { deliveryTag } }: { fields: { deliveryTag: number } }, allUpTo = false): void {
    if (!this.isOpen) throw illegal()
    this.acks.push([deliveryTag, allUpTo])
    if (!this.out.has(deliveryTag)) this.fail(406, `PRECONDITION_FAILED - unknown delivery tag ${deliveryTag}`)
    for (const tag of this.out.keys()) if (tag === deliveryTag || (allUpTo && tag < deliveryTag)) this.out.delete(tag)
  }

  publish(
    exchange: string,
    routingKey: string,
    _content: Buffer,
    properties: Published['properties'],
    onConfirm: Published['onConfirm'],
  ): boolean {
    if (!this.isOpen) throw illegal()
    this.published.push({ exchange, routingKey, id: properties.messageId, properties, onConfirm })
    return true
  }

  /** `basic.ack` with `multiple` for the first `count` unconfirmed messages. */
  confirm(count = this.published.length): void {
    for (const { onConfirm } of this.published.splice(0, count)) onConfirm(null)
  }

  /** `basic.nack` for the first unconfirmed message. */
  refuse(): void {
    this.published.shift()?.onConfirm(new Error('message nacked'))
  }

  /** `basic.return`: no queue gets it. */
  return({ exchange, routingKey, properties }: Published): void {
    this.emit('return', { content: Buffer.alloc(0), fields: { exchange, routingKey }, properties })
  }

  /** `channel.close` by the broker. */
  fail(code: number, text: string): void {
    this.emit('error', Object.assign(new Error(`Channel closed by server: ${code} (${text})`), { code }))
    this.end()
  }

  async close(): Promise<void> {
    if (!this.isOpen) throw illegal()
    this.end()
  }

  #requireAllowed(method: string): void {
    if (!this.#broker.forbidden.has(method)) return
    this.fail(403, `ACCESS_REFUSED - ${method}`)
    throw Object.assign(new Error(`403 (ACCESS-REFUSED) ${method}`), { code: 403 })
  }

  #missing(what: string): never {
    this.fail(404, `NOT_FOUND - no ${what}`)
    throw Object.assign(new Error(`404 (NOT-FOUND) ${what}`), { code: 404 })
  }

  /** Returns unsettled messages to the front of their queue, for the next consumer. */
  end(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#leave(() => true)
    for (const { queue, stored } of [...this.out.values()].reverse())
      queue.ready.unshift(Object.assign(stored, { redelivered: true }))
    this.out.clear()
    for (const { onConfirm } of this.published.splice(0)) onConfirm(new Error('channel closed'))
    this.emit('close')
    for (const queue of this.#broker.queues()) queue.serve()
  }

  #leave(isOver: (consumer: FakeConsumer) => boolean): void {
    for (const queue of this.#broker.queues()) {
      const staying = queue.consumers.filter((consumer) => consumer.channel !== this || !isOver(consumer))
      queue.consumers.splice(0, queue.consumers.length, ...staying)
    }
  }
}

const illegal = (): Error => Object.assign(new Error('Channel closed'), { name: 'IllegalOperationError' })
