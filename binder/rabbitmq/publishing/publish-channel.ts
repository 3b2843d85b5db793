import { resolveBackoff } from '../../../core/backoff.ts'
import { SECOND } from '../../../core/clock.ts'
import { finishesWithin } from '../../../core/time-limit.ts'
import { keepTrying } from '../../transport/kit/keep-trying.ts'
import type { TransportHost } from '../../transport/transport.ts'
import { type AmqpConfirmChannel, type AmqpConnection, type AmqpMessage, frameMaxOf } from '../link/amqplib-types.ts'
import type { Link } from '../link/connection.ts'
import { hasEnded } from '../link/early-frames.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { TRANSPORT, toTransportError, within } from '../transport-errors.ts'
import { FrameWriter, MOST_CHUNKS } from './frame-writer.ts'

export interface PublishChannelEvents {
  /** Called when writing may be possible again: a channel was opened, or amqplib's buffer has drained. */
  onRoom(): void
  /** Called when no queue matched the message. Its confirm still follows. */
  onReturned(message: AmqpMessage): void
  /**
   * Called when written messages get no more confirms. `error`: the broker's reason for closing the channel, if it closed it.
   */
  onClosed(error: Error | undefined): void
}

/** A confirm channel for publishing: opened when needed, and again after each loss. */
export class PublishChannel {
  readonly #link: Link
  readonly #options: Pick<ResolvedRabbitOptions, 'requestTimeoutMs'>
  readonly #host: TransportHost
  readonly #events: PublishChannelEvents
  readonly #closing: AbortController = new AbortController()
  #writer: FrameWriter | undefined
  #isOpening = false
  /** The largest frame that the broker accepts. */
  frameMax: number = Number.POSITIVE_INFINITY

  constructor(
    link: Link,
    options: Pick<ResolvedRabbitOptions, 'requestTimeoutMs'>,
    host: TransportHost,
    events: PublishChannelEvents,
  ) {
    this.#link = link
    this.#options = options
    this.#host = host
    this.#events = events
  }

  /** The present writer; `undefined`: `onRoom` follows. */
  toWriteTo(): FrameWriter | undefined {
    if (this.#writer === undefined && !this.#isOpening) void this.#keepOpening()
    return this.#writer?.hasRoom === true ? this.#writer : undefined
  }

  /** Sends all written messages. */
  flush(): void {
    this.#writer?.flush()
  }

  /** Stops writing until the channel has drained or is replaced. */
  full(): void {
    this.#writer?.full()
  }

  /** Opens no more channels; the owner closes the connection. */
  close(): void {
    this.#closing.abort()
  }

  /** Waits until a channel is open or the transport is closed. */
  async #keepOpening(): Promise<void> {
    this.#isOpening = true
    const { clock, logger } = this.#host
    const { signal } = this.#closing
    const open = async (): Promise<boolean> => {
      await this.#open()
      return this.#writer !== undefined
    }
    await keepTrying({ clock, backoff: BACKOFF, signal }, open, (error) =>
      logger.debug({ err: error }, 'no channel to publish on, trying again'),
    )
    this.#isOpening = false
    this.#events.onRoom()
  }

  async #open(): Promise<void> {
    const connection = await this.#link.acquire()
    try {
      await this.#lastSent(connection)
      const opening = connection.createConfirmChannel({ highWaterMark: MOST_CHUNKS })
      const channel = await within(this.#host.clock, this.#options.requestTimeoutMs, 'open a channel', opening)
      if (hasEnded(connection)) throw new Error('RabbitMQ closed the connection as the channel was made')
      const writer = new FrameWriter(channel)
      this.#watch(connection, channel, writer)
      this.frameMax = frameMaxOf(connection)
      this.#writer = writer
    } catch (cause) {
      const error = toTransportError('open a channel', cause)
      if (error.kind === 'timeout') this.#link.drop(connection, error)
      throw error
    }
  }

  /**
   * Waits until amqplib has sent its replies to the close of earlier channels. The new channel may have the number of one of
   * them, and if its `channel.open` came first, the broker would close the connection.
   */
  async #lastSent(connection: AmqpConnection): Promise<void> {
    const sent = sentOfClosed.get(connection)
    if (sent !== undefined) await finishesWithin(this.#host.clock, LAST_SENT_MS, sent)
  }

  #watch(connection: AmqpConnection, channel: AmqpConfirmChannel, writer: FrameWriter): void {
    let error: Error | undefined
    channel.on('error', (cause: Error) => (error = cause))
    channel.on('close', () => {
      if (this.#writer === writer) this.#writer = undefined
      sentOfClosed.set(connection, bothSent(sentOfClosed.get(connection), writer.sent()))
      if (!this.#closing.signal.aborted) this.#events.onClosed(error)
    })
    channel.on('return', (message: AmqpMessage) => this.#events.onReturned(message))
    channel.on('drain', () => {
      if (this.#writer !== writer) return
      writer.drained()
      this.#events.onRoom()
    })
  }
}

/** Resolves, by connection, when amqplib has sent all frames of its closed channels. */
const sentOfClosed = new WeakMap<AmqpConnection, Promise<void>>()

async function bothSent(earlier: Promise<void> | undefined, latest: Promise<void>): Promise<void> {
  await earlier
  await latest
}

/** Maximum wait for the frames of a closed channel while the broker reads nothing. */
const LAST_SENT_MS = 1 * SECOND
const BACKOFF = resolveBackoff(TRANSPORT, { initialMs: 50, maxMs: 2_000 })
