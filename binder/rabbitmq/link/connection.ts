import { resolveBackoff } from '../../../core/backoff.ts'
import { SECOND } from '../../../core/clock.ts'
import { isRetryable, toError } from '../../../core/errors.ts'
import { hasMethods, wrongKind } from '../../../core/option-checks.ts'
import { keepTrying } from '../../transport/kit/keep-trying.ts'
import { CLOSED_TRANSPORT } from '../../transport/kit/transport-error-factory.ts'
import type { TransportHealth, TransportHost } from '../../transport/transport.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { failure, toTransportError, within } from '../transport-errors.ts'
import { type AmqpConnection, channelMaxOf, destroySocket, surviveHeaders } from './amqplib-types.ts'
import { hasEnded, patchEarlyFrames } from './early-frames.ts'

export interface LinkEvents {
  /** The broker accepts no more publishes on this connection (an alarm); `undefined`: it accepts them again. */
  onBlocked(reason: string | undefined): void
}

/**
 * A connection to the broker, opened when first needed and kept from then on: after a loss or a failed attempt it is retried in
 * the background, so that health recovers without traffic. amqplib's own recovery is not used: it restores neither channels nor
 * consumers, so everything on top is created again on a new connection.
 */
export class Link {
  readonly #name: string
  /** The bindings report the loss of a connection that carries bindings. */
  readonly #level: 'debug' | 'warn'
  readonly #options: ResolvedRabbitOptions
  readonly #host: TransportHost
  readonly #events: LinkEvents
  #connection: AmqpConnection | undefined
  #opening: Promise<AmqpConnection> | undefined
  #error: Error | undefined
  #keeping = false
  readonly #closing: AbortController = new AbortController()
  /** Maximum number of channels of the latest connection. */
  channelMax = UNTOLD_CHANNELS

  constructor(purpose: 'consume' | 'publish', options: ResolvedRabbitOptions, host: TransportHost, events: LinkEvents) {
    this.#level = purpose === 'consume' ? 'debug' : 'warn'
    this.#name = `${host.service} ${host.instance} ${purpose}`
    this.#options = options
    this.#host = host
    this.#events = events
  }

  /** Why there is no connection, `undefined` while there is one. */
  get error(): Error | undefined {
    return this.#connection === undefined ? this.#error : undefined
  }

  health(): TransportHealth {
    if (this.#connection !== undefined) return { status: 'up' }
    return this.#error === undefined ? { status: 'idle' } : { status: 'down', detail: this.#error.message }
  }

  /** The open connection, or a new one. @throws TransportError */
  acquire(): Promise<AmqpConnection> {
    if (this.#closing.signal.aborted) return Promise.reject(failure('closed', CLOSED_TRANSPORT))
    if (this.#connection !== undefined) return Promise.resolve(this.#connection)
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined))
    return this.#opening
  }

  /** Gives up a connection that does not respond; its users are informed by its `close` event. */
  drop(connection: AmqpConnection, reason: Error): void {
    this.#lost(connection, reason)
    destroySocket(connection, reason)
  }

  /** Limited in time, never rejects. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#opening?.catch(() => {})
    const connection = this.#connection
    this.#connection = undefined
    if (connection !== undefined) await this.#shut(connection)
  }

  async #open(): Promise<AmqpConnection> {
    try {
      const connection = await this.#connect()
      surviveHeaders(connection)
      this.#watch(connection)
      if (hasEnded(connection)) throw new Error('RabbitMQ closed the connection as soon as it was made')
      if (this.#closing.signal.aborted) {
        await this.#shut(connection)
        throw failure('closed', CLOSED_TRANSPORT)
      }
      this.#connection = connection
      this.channelMax = channelMaxOf(connection)
      return connection
    } catch (cause) {
      this.#error = toTransportError('connect to RabbitMQ', cause)
      if (isRetryable(this.#error)) void this.#keep()
      throw this.#error
    }
  }

  async #connect(): Promise<AmqpConnection> {
    patchEarlyFrames()
    const attempt = Promise.resolve(this.#options.connect(this.#name)).then(requireConnection)
    let late = false
    attempt.then(
      (connection) => (late ? this.#shut(connection) : undefined),
      () => {},
    )
    try {
      return await within(this.#host.clock, this.#options.connectTimeoutMs, 'connect to RabbitMQ', attempt)
    } finally {
      late = true
    }
  }

  #watch(connection: AmqpConnection): void {
    // `close` comes after `error`, but the channels are informed in between.
    connection.on('error', (error: Error) => this.#lost(connection, error))
    connection.on('close', (error?: Error) =>
      this.#lost(connection, error ?? new Error('RabbitMQ closed the connection')),
    )
    connection.on('blocked', (reason: string) => this.#events.onBlocked(reason))
    connection.on('unblocked', () => this.#events.onBlocked(undefined))
  }

  #lost(connection: AmqpConnection, error: Error): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#error = toError(error)
    this.#events.onBlocked(undefined)
    if (this.#closing.signal.aborted) return
    this.#host.logger[this.#level]({ err: error, connection: this.#name }, 'RabbitMQ connection lost')
    void this.#keep()
  }

  async #keep(): Promise<void> {
    if (this.#keeping) return
    this.#keeping = true
    const { signal } = this.#closing
    await keepTrying({ clock: this.#host.clock, backoff: BACKOFF, signal, failed: 1 }, async () => {
      await this.acquire()
      return this.#connection !== undefined
    })
    this.#keeping = false
  }

  async #shut(connection: AmqpConnection): Promise<void> {
    connection.on('error', () => {})
    try {
      await within(this.#host.clock, this.#options.closeTimeoutMs, 'close the connection', connection.close())
    } catch (error) {
      destroySocket(connection, toError(error))
    }
  }
}

/** @throws TransportError `mismatch`: another attempt would have the same result */
function requireConnection(given: AmqpConnection): AmqpConnection {
  if (hasMethods(given, ['on', 'createChannel', 'createConfirmChannel', 'close'])) return given
  throw failure('mismatch', wrongKind('rabbitTransport.connect', given, 'what amqplib.connect(url) gives').message)
}

/** Number of channels that each broker is assumed to allow, before it has reported its limit. */
const UNTOLD_CHANNELS = 16
const BACKOFF = resolveBackoff('rabbitTransport', { initialMs: 100, maxMs: 5 * SECOND })
