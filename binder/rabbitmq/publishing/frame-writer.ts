import type { AmqpConfirmChannel, AmqpPublishOptions } from '../link/amqplib-types.ts'
import { type PublishTarget, writePublish } from './publish-frames.ts'

/** The parts of amqplib's channel that write. */
interface AmqplibChannel {
  readonly ch: number
  readonly connection: AmqplibConnection
  readonly publish: (...args: never[]) => boolean
  readonly sendMessage: (...args: never[]) => boolean
  pushConfirmCallback(onConfirm: (error: Error | null) => void): void
}

interface AmqplibConnection {
  readonly channels: ReadonlyArray<{ readonly buffer: WriteBuffer } | null>
  readonly frameMax: number
  sentSinceLastCheck: boolean
  readonly sendMessage: (...args: never[]) => boolean
}

/** A stream that amqplib reads from when the socket has room, and ends with the channel. */
interface WriteBuffer {
  readonly readableEnded: boolean
  write(frames: Uint8Array): boolean
  once(event: 'end', listener: () => void): unknown
}

/** So much is handed to amqplib at a time. */
const CHUNK_BYTES = 16 * 1024
/** Chunks that wait in amqplib before the channel counts as full: its high-water mark. */
export const MOST_CHUNKS = 16
/** Largest content that is copied. */
const MOST_CONTENT_BYTES = 8 * 1024
/** Memory for the next messages: chunks follow one another in it. */
const BLOCK_BYTES = 4 * CHUNK_BYTES
const FRAME_OVERHEAD = 8

/**
 * Publishes on a channel: many messages at a time, in frames of its own (`publish-frames`), since amqplib writes each message
 * by itself. What is not written that way goes through amqplib, in its turn. With another client, an amqplib that is different inside, or
 * one that a tracer has wrapped, everything does.
 */
export class FrameWriter {
  readonly #channel: AmqpConfirmChannel
  readonly #inside: AmqplibChannel | undefined
  readonly #buffer: WriteBuffer | undefined
  #block: Buffer = Buffer.alloc(0)
  /** What is not handed to amqplib yet. */
  #start = 0
  #end = 0
  #hasRoom = true

  constructor(channel: AmqpConfirmChannel) {
    this.#channel = channel
    this.#inside = hasKnownInside(channel) ? channel : undefined
    this.#buffer = this.#inside === undefined ? undefined : bufferOf(this.#inside)
  }

  /**
   * As `publish` of amqplib; the message is only on its way after `flush`.
   * @returns false: there is no room for another one until the channel has drained
   * @throws what amqplib throws: of a channel that is closing, and about a message that it cannot write
   */
  publish(
    to: PublishTarget,
    content: Buffer,
    options: AmqpPublishOptions,
    onConfirm: (error: Error | null) => void,
  ): boolean {
    const inside = this.#inside
    if (inside !== undefined && this.#encoded(inside, to, content, options)) {
      inside.pushConfirmCallback(onConfirm)
      return this.#end - this.#start < CHUNK_BYTES ? this.#hasRoom : this.flush()
    }
    this.flush()
    const hasRoom = this.#channel.publish(to.exchange, to.routingKey, content, options, onConfirm)
    this.#hasRoom &&= hasRoom
    return this.#hasRoom
  }

  /** Hands all that was published to the driver. @returns as `publish` */
  flush(): boolean {
    const { connection, ch } = this.#inside ?? {}
    if (connection === undefined || ch === undefined || this.#start === this.#end) return this.#hasRoom
    const frames = this.#block.subarray(this.#start, this.#end)
    this.#start = this.#end
    connection.sentSinceLastCheck = true
    // A channel that is closed has left its number to another one.
    if (connection.channels[ch]?.buffer === this.#buffer)
      this.#hasRoom = this.#buffer?.write(frames) === true && this.#hasRoom
    return this.#hasRoom
  }

  /** The channel has drained. */
  drained(): void {
    this.#hasRoom = true
  }

  /** Resolves when the socket has got all that the channel was given, after its close that too. May never be, with a connection that is lost. */
  async sent(): Promise<void> {
    const buffer = this.#buffer
    if (buffer?.readableEnded === false) await new Promise<void>((resolve) => buffer.once('end', resolve))
  }

  /** False: amqplib has to write it, or to say why it cannot be written. */
  #encoded(inside: AmqplibChannel, to: PublishTarget, content: Buffer, options: AmqpPublishOptions): boolean {
    if (isClosed(inside)) return false
    if (content.byteLength > Math.min(MOST_CONTENT_BYTES, inside.connection.frameMax - FRAME_OVERHEAD)) return false
    if (this.#block.byteLength - this.#end < CHUNK_BYTES) {
      this.flush()
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      this.#start = this.#end = 0
    }
    const end = writePublish(this.#block, this.#end, { channel: inside.ch, to, content, options })
    if (end === undefined) return false
    this.#end = end
    return true
  }
}

/** amqplib replaces its `sendMessage` by one that throws, in the channel or in its connection. */
function isClosed(channel: AmqplibChannel): boolean {
  return Object.hasOwn(channel, 'sendMessage') || Object.hasOwn(channel.connection, 'sendMessage')
}

function bufferOf({ connection, ch }: AmqplibChannel): WriteBuffer | undefined {
  return connection.channels[ch]?.buffer
}

/** What the methods of amqplib do that are passed by, in words of their source. Whoever replaced one wants to be called. */
const PASSED_BY = { publish: 'pushConfirmCallback', sendMessage: 'BasicPublish', connection: 'sentSinceLastCheck' }

function hasKnownInside(channel: object): channel is AmqplibChannel {
  const { ch, connection, publish, sendMessage, pushConfirmCallback } = channel as Partial<AmqplibChannel>
  return (
    typeof ch === 'number' &&
    typeof pushConfirmCallback === 'function' &&
    typeof connection?.frameMax === 'number' &&
    typeof connection.sentSinceLastCheck === 'boolean' &&
    typeof connection.channels?.[ch]?.buffer.write === 'function' &&
    String(publish).includes(PASSED_BY.publish) &&
    String(sendMessage).includes(PASSED_BY.sendMessage) &&
    String(connection.sendMessage).includes(PASSED_BY.connection)
  )
}
