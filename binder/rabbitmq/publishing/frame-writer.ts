import type { AmqpConfirmChannel, AmqpPublishProperties } from '../link/amqplib-types.ts'
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

/** A stream from which amqplib reads when the socket has room; it ends with the channel. */
interface WriteBuffer {
  readonly readableEnded: boolean
  write(frames: Uint8Array): boolean
  once(event: 'end', listener: () => void): unknown
}

/** A chunk of frames of this size is written to amqplib's buffer. */
const CHUNK_BYTES = 16 * 1024
/** High-water mark of the channel's buffer in amqplib. */
export const MOST_CHUNKS = 16
/** Larger content is not copied. */
const MOST_CONTENT_BYTES = 8 * 1024
/** Memory for the next messages; chunks follow one another in it. */
const BLOCK_BYTES = 4 * CHUNK_BYTES
const FRAME_OVERHEAD = 8

/**
 * Publishes on a channel: writes many messages at a time in frames of its own (`publish-frames`), since amqplib writes each
 * message separately. Messages that cannot be written that way go through amqplib, in order. With another client, an amqplib
 * with different internals, or a channel wrapped by a tracer, every message goes through amqplib.
 */
export class FrameWriter {
  readonly #channel: AmqpConfirmChannel
  readonly #inside: AmqplibChannel | undefined
  readonly #buffer: WriteBuffer | undefined
  #block: Buffer = Buffer.alloc(0)
  /** Range of the frames that amqplib does not have yet. */
  #start = 0
  #end = 0
  #hasRoom = true

  constructor(channel: AmqpConfirmChannel) {
    this.#channel = channel
    this.#inside = hasKnownInside(channel) ? channel : undefined
    this.#buffer = this.#inside === undefined ? undefined : bufferOf(this.#inside)
  }

  /** False until the channel has drained: amqplib's buffer is over its high-water mark, or the channel is closing. */
  get hasRoom(): boolean {
    return this.#hasRoom
  }

  /** Stops writing until the channel has drained. */
  full(): void {
    this.#hasRoom = false
  }

  /** The channel has drained. */
  drained(): void {
    this.#hasRoom = true
  }

  /**
   * Like `publish` of amqplib, but sends nothing before `flush`.
   * @throws what amqplib throws: for a closing channel, and for a message that it cannot write
   */
  publish(
    to: PublishTarget,
    content: Buffer,
    options: AmqpPublishProperties,
    onConfirm: (error: Error | null) => void,
  ): void {
    const inside = this.#inside
    if (inside !== undefined && this.#encoded(inside, to, content, options)) {
      inside.pushConfirmCallback(onConfirm)
      if (this.#end - this.#start >= CHUNK_BYTES) this.flush()
      return
    }
    this.flush()
    if (!this.#channel.publish(to.exchange, to.routingKey, content, options, onConfirm)) this.full()
  }

  /** Passes all published messages to amqplib. */
  flush(): void {
    const { connection, ch } = this.#inside ?? {}
    if (connection === undefined || ch === undefined || this.#start === this.#end) return
    const frames = this.#block.subarray(this.#start, this.#end)
    this.#start = this.#end
    connection.sentSinceLastCheck = true
    // Another channel may have the number of a closed one.
    if (connection.channels[ch]?.buffer === this.#buffer && this.#buffer?.write(frames) !== true) this.full()
  }

  /** Resolves when amqplib has sent all frames of the closed channel to the socket; never if the connection is lost. */
  async sent(): Promise<void> {
    const buffer = this.#buffer
    if (buffer?.readableEnded === false) await new Promise<void>((resolve) => buffer.once('end', resolve))
  }

  /** False: amqplib must write the message, or report why it cannot be written. */
  #encoded(inside: AmqplibChannel, to: PublishTarget, content: Buffer, options: AmqpPublishProperties): boolean {
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

/** amqplib replaces its `sendMessage` by a function that throws, in the channel or in its connection. */
function isClosed(channel: AmqplibChannel): boolean {
  return Object.hasOwn(channel, 'sendMessage') || Object.hasOwn(channel.connection, 'sendMessage')
}

function bufferOf({ connection, ch }: AmqplibChannel): WriteBuffer | undefined {
  return connection.channels[ch]?.buffer
}

/**
 * Words in the source of the amqplib methods that the writer bypasses. A tracer that has replaced one of them must be called.
 */
const BYPASSED = { publish: 'pushConfirmCallback', sendMessage: 'BasicPublish', connection: 'sentSinceLastCheck' }

function hasKnownInside(channel: object): channel is AmqplibChannel {
  const { ch, connection, publish, sendMessage, pushConfirmCallback } = channel as Partial<AmqplibChannel>
  return (
    typeof ch === 'number' &&
    typeof pushConfirmCallback === 'function' &&
    typeof connection?.frameMax === 'number' &&
    typeof connection.sentSinceLastCheck === 'boolean' &&
    typeof connection.channels?.[ch]?.buffer.write === 'function' &&
    String(publish).includes(BYPASSED.publish) &&
    String(sendMessage).includes(BYPASSED.sendMessage) &&
    String(connection.sendMessage).includes(BYPASSED.connection)
  )
}
