import { backoffDelayMs, resolveBackoff } from '../../core/backoff.ts'
import { toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../message.ts'
import { partitionOf } from '../partition.ts'
import type { PublishOutcome, TransportHost } from '../transport.ts'
import { type AmqpConfirmChannel, type AmqpMessage, type AmqpPublishOptions, frameMaxOf } from './client.ts'
import type { Link } from './connection.ts'
import { delayRoute } from './delay.ts'
import { idOf, propertiesBytes, toAmqp } from './envelope.ts'
import { replyCodeOf, TRANSPORT, toTransportError, within } from './failure.ts'
import type { ResolvedRabbitOptions } from './options.ts'
import {
  behindLost,
  blocked,
  closedBefore,
  lost,
  nacked,
  notProvisioned,
  rejected,
  unanswered,
  unreached,
  unroutable,
  unwritable,
} from './outcomes.ts'
import { PublishCall, type PublishEntry } from './publish-call.ts'
import { routingKeyOf } from './topology.ts'

export interface PublisherHost extends TransportHost {
  /** Partitions of a provisioned destination. */
  partitionsOf(destination: string): number | undefined
  /** True for dead letters: RabbitMQ took the message before, so it takes it again. */
  takesAnySize(destination: string): boolean
  /** Makes a destination exist again that somebody deleted. @throws TransportError */
  reprovision(destination: string): Promise<void>
}

/**
 * The way to the broker: one queue, one confirm channel, confirms pipelined. Order is kept because everything goes
 * through that one queue and channel, however many `publish` calls are open.
 *
 * - Connection lost: what was sent and unconfirmed gets `unavailable` (it may have arrived), and with it what waited
 *   behind it under the same destination and key; the rest waits for the reconnect.
 * - Channel closed by the broker because it did not like one message: it says neither which nor what became of the
 *   others, so all that were unconfirmed are sent again one by one. Whoever closes the channel when it is alone is the
 *   culprit. The others may arrive twice, with the same id.
 */
export class RabbitPublisher {
  readonly #link: Link
  readonly #options: ResolvedRabbitOptions
  readonly #host: PublisherHost
  readonly #inFlight: Set<PublishEntry> = new Set()
  #queue: PublishEntry[] = []
  #head = 0
  #channel: AmqpConfirmChannel | undefined
  #frameMax = Number.POSITIVE_INFINITY
  /** amqplib's buffer is over its high-water mark: nothing more until `drain`. */
  #full = false
  /** Reason of the broker's alarm. */
  #blocked: string | undefined
  /** Entries to be sent one at a time, to find the one the broker closes the channel for. */
  #suspects = 0
  #connecting = false
  #roundRobin = 0
  readonly #closing: AbortController = new AbortController()

  constructor(link: Link, options: ResolvedRabbitOptions, host: PublisherHost) {
    this.#link = link
    this.#options = options
    this.#host = host
  }

  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> {
    return new Promise((resolve) => {
      const call = new PublishCall(messages, resolve)
      if (messages.length === 0) return
      if (this.#closing.signal.aborted) {
        for (const entry of call.entries) entry.settle(closedBefore(entry.message))
        return
      }
      const { clock, publishTimeoutMs } = this.#host
      call.onSettled = clock.setTimer(publishTimeoutMs, () => this.#expire(call))
      for (const entry of call.entries) this.#queue.push(entry)
      this.#pump()
    })
  }

  setBlocked(reason: string | undefined): void {
    this.#blocked = reason
    if (reason !== undefined) this.#host.logger.warn({ reason }, 'RabbitMQ takes no messages for now (resource alarm)')
    else this.#pump()
  }

  /** Ends what is unconfirmed with `closed`. */
  close(): void {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    for (const entry of [...this.#inFlight, ...this.#waiting()]) entry.settle(closedBefore(entry.message))
    this.#inFlight.clear()
    this.#queue = []
    this.#head = 0
  }

  #waiting(): PublishEntry[] {
    return this.#queue.slice(this.#head)
  }

  #pump(): void {
    for (;;) {
      this.#skipSettled()
      const entry = this.#queue[this.#head]
      if (entry === undefined || this.#full || this.#blocked !== undefined) return
      if (this.#suspects > 0 && this.#inFlight.size > 0) return
      const channel = this.#channel
      if (channel === undefined) {
        if (!this.#connecting) void this.#connect()
        return
      }
      this.#advance()
      this.#send(channel, entry)
    }
  }

  #skipSettled(): void {
    while (this.#queue[this.#head]?.settled === true) this.#advance()
  }

  #advance(): void {
    this.#head++
    if (this.#head === this.#queue.length) {
      this.#queue = []
      this.#head = 0
    } else if (this.#head > 4_096 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
  }

  #send(channel: AmqpConfirmChannel, entry: PublishEntry): void {
    const { message } = entry
    const { destination, key } = message
    const partitions = this.#host.partitionsOf(destination)
    if (partitions === undefined) {
      this.#settle(entry, notProvisioned(message))
      return
    }
    const partition = key === null ? this.#roundRobin++ % partitions : partitionOf(key, partitions)
    try {
      this.#write(channel, entry, routingKeyOf(partition))
    } catch (cause) {
      this.#unsendable(entry, toError(cause))
    }
  }

  #write(channel: AmqpConfirmChannel, entry: PublishEntry, routingKey: string): void {
    const { message } = entry
    const size = message.body?.byteLength ?? 0
    if (size > this.#options.maxMessageBytes && !this.#host.takesAnySize(message.destination))
      throw new RangeError(`the body has ${size} bytes`)
    const { content, options } = toAmqp(message, this.#options.unroutable === 'refuse')
    if (message.notBefore !== undefined) this.#delay(entry, message.notBefore, options)
    if (this.#frameMax < 131_072 && propertiesBytes(options) > this.#frameMax)
      throw new RangeError(`the headers do not fit in a frame of ${this.#frameMax} bytes`)
    const room = channel.publish(entry.exchange, routingKey, content, options, (error) => this.#confirmed(entry, error))
    this.#inFlight.add(entry)
    entry.sent = true
    if (!room) this.#full = true
  }

  /** Sends it through the delay ladder, unless it is due. */
  #delay(entry: PublishEntry, notBefore: number, options: AmqpPublishOptions): void {
    const { destination } = entry.message
    const leftMs = notBefore - this.#host.clock.now()
    entry.exchange = destination
    if (leftMs <= 0) return
    const { exchange, headers } = delayRoute(destination, leftMs)
    Object.assign(options.headers, headers)
    options.mandatory = true
    entry.exchange = exchange
  }

  /** `channel.publish` threw: nothing was written. */
  #unsendable(entry: PublishEntry, cause: Error): void {
    if (cause.name === 'IllegalOperationError') {
      // The channel is closing: its `close` event decides about the rest.
      this.#full = true
      this.#queue = [entry, ...this.#waiting()]
      this.#head = 0
      return
    }
    this.#settle(entry, unwritable(entry.message, this.#options.maxMessageBytes, cause))
  }

  #confirmed(entry: PublishEntry, error: Error | null): void {
    // With any other error the channel was closed: `#closed` decides.
    if (error !== null && error.message !== 'message nacked') return
    if (!this.#inFlight.delete(entry)) return
    if (error !== null) this.#settle(entry, nacked(entry.message, error))
    else this.#settle(entry, entry.returned ? unroutable(entry.message) : undefined)
    if (this.#suspects > 0 || this.#inFlight.size === 0) this.#pump()
  }

  /** An id may be in flight to several destinations: which one sent it back is part of the answer. */
  #returned({ fields, properties }: AmqpMessage): void {
    const id = idOf(properties)
    for (const entry of this.#inFlight) {
      if (entry.message.id === id && entry.exchange === fields.exchange && !entry.returned) {
        entry.returned = true
        return
      }
    }
  }

  #settle(entry: PublishEntry, outcome: PublishOutcome): void {
    if (entry.suspect) {
      entry.suspect = false
      this.#suspects--
    }
    entry.settle(outcome)
  }

  #expire(call: PublishCall): void {
    const { publishTimeoutMs } = this.#host
    const cause = this.#link.error
    for (const entry of call.entries) {
      if (entry.settled) continue
      const { message } = entry
      if (this.#blocked !== undefined) this.#settle(entry, blocked(message, publishTimeoutMs, this.#blocked))
      else if (entry.sent) this.#settle(entry, unanswered(message, publishTimeoutMs, cause))
      else this.#settle(entry, unreached(message, publishTimeoutMs, cause))
    }
    this.#skipSettled()
  }

  /** Until there is a channel or the transport is closed. */
  async #connect(): Promise<void> {
    this.#connecting = true
    const { clock } = this.#host
    for (let attempt = 1; !this.#closing.signal.aborted && this.#channel === undefined; attempt++) {
      try {
        await this.#open()
      } catch (error) {
        this.#host.logger.debug({ err: error }, 'no channel to publish on, trying again')
        const pause = backoffDelayMs(BACKOFF, attempt, Math.random())
        await clock.sleep(pause, this.#closing.signal).catch(() => {})
      }
    }
    this.#connecting = false
    this.#pump()
  }

  async #open(): Promise<void> {
    const { clock } = this.#host
    const { requestTimeoutMs } = this.#options
    const connection = await this.#link.acquire()
    try {
      const channel = await within(clock, requestTimeoutMs, 'open a channel', connection.createConfirmChannel())
      let error: Error | undefined
      channel.on('error', (cause: Error) => (error = cause))
      channel.on('close', () => this.#closed(channel, error))
      channel.on('return', (message: AmqpMessage) => this.#returned(message))
      channel.on('drain', () => {
        this.#full = false
        this.#pump()
      })
      this.#frameMax = frameMaxOf(connection)
      this.#full = false
      this.#channel = channel
    } catch (cause) {
      const error = toTransportError('open a channel', cause)
      if (error.kind === 'timeout') this.#link.drop(connection, error)
      throw error
    }
  }

  #closed(channel: AmqpConfirmChannel, error: Error | undefined): void {
    if (this.#channel === channel) this.#channel = undefined
    if (this.#closing.signal.aborted) return
    const pending = [...this.#inFlight].filter((entry) => !entry.settled)
    this.#inFlight.clear()
    if (error !== undefined && replyCodeOf(error) !== undefined) void this.#investigate(pending, error)
    else this.#abandon(pending)
    if (!this.#connecting) void this.#connect()
  }

  /** The connection is gone. */
  #abandon(pending: readonly PublishEntry[]): void {
    const cause = this.#link.error
    const lines = new Set(pending.map(lineOf).filter((line) => line !== undefined))
    for (const entry of pending) this.#settle(entry, lost(entry.message, cause))
    if (lines.size === 0) return
    for (const entry of this.#waiting()) {
      const line = lineOf(entry)
      if (line !== undefined && lines.has(line)) this.#settle(entry, behindLost(entry.message, cause))
    }
  }

  /** The broker closed the channel over one of these. */
  async #investigate(pending: readonly PublishEntry[], cause: Error): Promise<void> {
    const [alone] = pending
    if (alone === undefined || pending.length > 1) {
      this.#host.logger.warn({ err: cause, messages: pending.length }, 'RabbitMQ closed the channel over a message')
      this.#putBack(pending)
      return
    }
    if (replyCodeOf(cause) === NOT_FOUND && !alone.repaired) {
      alone.repaired = true
      await this.#repair(alone)
      return
    }
    this.#settle(alone, rejected(alone.message, cause))
    this.#pump()
  }

  /** The exchange is gone: makes it again and sends the message again. */
  async #repair(entry: PublishEntry): Promise<void> {
    this.#putBack([entry])
    const connecting = this.#connecting
    this.#connecting = true
    try {
      await this.#host.reprovision(entry.message.destination)
    } catch (error) {
      this.#settle(entry, toTransportError('declare it again', error, entry.message.destination))
    }
    this.#connecting = connecting
    this.#pump()
  }

  /** Before everything that waits, in the old order, to be sent one at a time. */
  #putBack(entries: readonly PublishEntry[]): void {
    for (const entry of entries) {
      entry.returned = false
      if (entry.suspect) continue
      entry.suspect = true
      this.#suspects++
    }
    this.#queue = [...entries, ...this.#waiting()]
    this.#head = 0
  }
}

const NOT_FOUND = 404

const BACKOFF = resolveBackoff(TRANSPORT, { initialMs: 50, maxMs: 2_000 })

/** What must stay in order: a destination and a key. */
function lineOf({ message }: PublishEntry): string | undefined {
  return message.key === null ? undefined : `${message.destination}\n${message.key}`
}
