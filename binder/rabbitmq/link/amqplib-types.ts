/**
 * The part of amqplib (>= 2) that this adapter uses, typed structurally: `amqplib` stays an optional peer, and any object with
 * these methods works. `amqplib.connect(url)` resolves to an `AmqpConnection`.
 */

interface AmqpEmitter {
  on(event: string, listener: (...args: never[]) => void): unknown
}

/** The part of an amqplib connection that is used. */
export interface AmqpConnection extends AmqpEmitter {
  createChannel(): Promise<AmqpChannel>
  createConfirmChannel(options?: { highWaterMark?: number }): Promise<AmqpConfirmChannel>
  close(): Promise<void>
}

/** The part of an amqplib channel that is used. */
export interface AmqpChannel extends AmqpEmitter {
  assertExchange(
    name: string,
    type: string,
    options?: { durable?: boolean; internal?: boolean; alternateExchange?: string },
  ): Promise<unknown>
  assertQueue(
    name: string,
    options?: { durable?: boolean; exclusive?: boolean; autoDelete?: boolean; arguments?: Record<string, unknown> },
  ): Promise<AmqpQueueState>
  /** Succeeds if there is none. */
  deleteExchange(name: string): Promise<unknown>
  /** Succeeds if there is none. */
  deleteQueue(name: string): Promise<unknown>
  /** Fails with 404 if there is none, and creates none. */
  checkExchange(name: string): Promise<unknown>
  checkQueue(name: string): Promise<AmqpQueueState>
  bindQueue(queue: string, exchange: string, routingKey: string, headers?: Record<string, unknown>): Promise<unknown>
  prefetch(count: number, global?: boolean): Promise<unknown>
  consume(
    queue: string,
    onMessage: (message: AmqpMessage | null) => void,
    options?: { consumerTag?: string; noAck?: boolean },
  ): Promise<{ consumerTag: string }>
  cancel(consumerTag: string): Promise<unknown>
  ack(message: AmqpTag, allUpTo?: boolean): void
  nack(message: AmqpTag, allUpTo?: boolean, requeue?: boolean): void
  close(): Promise<void>
}

/** The part of an amqplib confirm channel that is used. */
export interface AmqpConfirmChannel extends AmqpChannel {
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: AmqpPublishProperties,
    onConfirm: (error: Error | null) => void,
  ): boolean
}

export interface AmqpQueueState {
  readonly queue: string
  readonly messageCount: number
  readonly consumerCount: number
}

/** The only field that `ack` and `nack` read; keeping the whole message would keep its body. */
export interface AmqpTag {
  readonly fields: { readonly deliveryTag: number }
}

export interface AmqpMessage {
  readonly content: Uint8Array
  readonly fields: {
    readonly deliveryTag: number
    readonly redelivered: boolean
    readonly exchange?: string
    readonly routingKey?: string
  }
  readonly properties: AmqpProperties
}

/** Properties of a received message of any origin: only their names are certain. */
export interface AmqpProperties {
  readonly headers?: Readonly<Record<string, unknown>> | undefined
  readonly messageId?: unknown
  readonly contentType?: unknown
  readonly timestamp?: unknown
  readonly type?: unknown
  readonly appId?: unknown
  readonly replyTo?: unknown
  readonly correlationId?: unknown
  readonly contentEncoding?: unknown
  readonly priority?: unknown
  readonly expiration?: unknown
}

/** Properties of a message to publish. With `mandatory`, the broker returns the message if no queue receives it. */
export interface AmqpPublishProperties {
  headers: Record<string, unknown>
  contentType?: string
  persistent: boolean
  mandatory: boolean
  messageId?: string
  timestamp?: number
  type?: string
  appId?: string
  replyTo?: string
  correlationId?: string
  contentEncoding?: string
  priority?: number
}

/** Ends a connection whose broker no longer responds: amqplib's own `close` would wait for it. */
export function destroySocket(connection: AmqpConnection, reason: Error): void {
  const inner = (connection as { connection?: { stream?: { destroy?: (error: Error) => unknown } } }).connection
  inner?.stream?.destroy?.(reason)
}

/** The heartbeat that client and broker agreed on; `Infinity` without one, in which case the broker waits forever. */
export function heartbeatMsOf(connection: AmqpConnection): number {
  const inner = (connection as { connection?: { heartbeat?: unknown } }).connection
  const seconds = inner?.heartbeat
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1_000 : Number.POSITIVE_INFINITY
}

/** Calls `listener` whenever the broker has sent something, including heartbeats. */
export function onTraffic(connection: AmqpConnection, listener: () => void): void {
  const inner = (connection as { connection?: { stream?: { prependListener?: unknown } } }).connection
  const stream = inner?.stream as { prependListener?(event: string, listener: () => void): unknown } | undefined
  stream?.prependListener?.('readable', listener)
}

/** The largest frame that the broker accepts, if amqplib reports it. A message's headers have to fit into one. */
export function frameMaxOf(connection: AmqpConnection): number {
  const inner = (connection as { connection?: { frameMax?: unknown } }).connection
  return typeof inner?.frameMax === 'number' && inner.frameMax > 0 ? inner.frameMax : Number.POSITIVE_INFINITY
}

/** Maximum number of channels of the connection, as agreed by client and broker; `Infinity` if amqplib does not report it. */
export function channelMaxOf(connection: AmqpConnection): number {
  const inner = (connection as { connection?: { channelMax?: unknown } }).connection
  return typeof inner?.channelMax === 'number' && inner.channelMax > 0 ? inner.channelMax : Number.POSITIVE_INFINITY
}

interface FrameReader {
  rest: Buffer
  recvFrame(): unknown
}

const FRAME_HEADER = 2
const PAYLOAD_AT = 7

/**
 * amqplib reads tables by recursion: headers nested some thousand levels deep, which any client may send, end the connection, and
 * the redelivered message ends the next one. Headers that cannot be read are replaced by one header that says so; the body is
 * read as usual.
 */
export function surviveHeaders(connection: AmqpConnection): void {
  const inner = (connection as { connection?: Partial<FrameReader> }).connection
  if (!isFrameReader(inner)) return
  const receive = inner.recvFrame.bind(inner)
  inner.recvFrame = () => {
    const before = inner.rest
    try {
      return receive()
    } catch (error) {
      const wasRead = inner.rest !== before
      if (!wasRead || before[0] !== FRAME_HEADER) throw error
      return {
        id: before.readUInt16BE(PAYLOAD_AT),
        channel: before.readUInt16BE(1),
        size: Number(before.readBigInt64BE(PAYLOAD_AT + 4)),
        fields: { headers: { [UNREADABLE_HEADERS]: UNREADABLE } },
      }
    }
  }
}

/** The header that replaces headers that cannot be read. */
const UNREADABLE_HEADERS = 'amqp-headers'
/** Replaces values that are nested too deeply to be read. */
export const UNREADABLE = '(nested too deeply)'

function isFrameReader(inner: Partial<FrameReader> | undefined): inner is FrameReader {
  return typeof inner?.recvFrame === 'function' && Buffer.isBuffer(inner.rest)
}
