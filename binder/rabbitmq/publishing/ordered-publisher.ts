import { toError } from '../../../core/errors.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportError } from '../../errors.ts'
import type { PublishOutcome, TransportHost } from '../../transport/transport.ts'
import type { Link } from '../link/connection.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { replyCodeOf, toTransportError } from '../transport-errors.ts'
import type { FrameWriter } from './frame-writer.ts'
import { InFlight } from './in-flight.ts'
import type { PublishEntry } from './publish-call.ts'
import { PublishChannel } from './publish-channel.ts'
import { type KnownDestinations, PublishEncoder } from './publish-encoder.ts'
import {
  behindLost,
  behindUnanswered,
  blocked,
  closedBefore,
  lost,
  nacked,
  rejected,
  unanswered,
  unreached,
  unroutable,
} from './publish-errors.ts'
import { UnsentMessages } from './unsent-messages.ts'

export interface PublisherHost extends TransportHost, KnownDestinations {
  /** Declares a deleted destination again. @throws TransportError */
  reprovision(destination: string): Promise<void>
}

/**
 * One queue and one confirm channel with pipelined confirms. Order is kept because every message goes through that queue and
 * channel, however many `publish` calls are open.
 *
 * - Connection lost: unconfirmed messages get `unavailable` (they may have arrived), as do messages that waited behind them under the
 *   same destination and key. The rest waits for the reconnect.
 * - Channel closed by the broker over one message: the broker names neither that message nor the outcome of the others, so all
 *   unconfirmed ones are sent again one by one. The message that closes the channel alone is the culprit. The others may arrive twice,
 *   with the same id.
 * - First message to a routing key on a channel: nothing is written behind it until the broker answers. A quorum queue without a
 *   majority stops the broker's whole channel for a minute at such a message, and with some hundred messages behind it the whole
 *   connection.
 * - `MOST_UNANSWERED` messages to one routing key, including those that timed out: nothing is written behind them. With too many, a
 *   queue that hangs makes the broker stop reading from the whole connection.
 */
export class OrderedPublisher {
  readonly #link: Link
  readonly #host: PublisherHost
  readonly #encoder: PublishEncoder
  readonly #channel: PublishChannel
  readonly #queue: UnsentMessages = new UnsentMessages()
  readonly #inFlight = new InFlight()
  /** Reason of the broker's alarm. */
  #blocked: string | undefined
  /** Entries to be sent one at a time, to find the one for which the broker closes the channel. */
  #suspects = 0
  /** A destination is being declared again: nothing is written. */
  #isRepairing = false
  /** Nested maps by exchange and routing key, since a combined key would need a new string for each message. */
  readonly #targets: Map<string, Map<string, Target>> = new Map()
  #targetCount = 0
  /** The first message to its routing key, while the broker has not answered it. */
  #first: PublishEntry | undefined
  /** The target that has the maximum number of unanswered messages. */
  #full: Target | undefined
  #willPump = false

  constructor(link: Link, options: ResolvedRabbitOptions, host: PublisherHost) {
    this.#link = link
    this.#host = host
    this.#channel = new PublishChannel(link, options, host, {
      onRoom: () => this.#pump(),
      onReturned: (message) => this.#inFlight.returned(message),
      onClosed: (error) => this.#closed(error),
    })
    this.#encoder = new PublishEncoder(options, host, host.clock, () => this.#channel.frameMax)
  }

  /** Why the message can never be written, before it is published. */
  cannotTake(message: EncodedMessage): TransportError | undefined {
    return this.#encoder.cannotTake(message)
  }

  /** Adds the messages behind all waiting ones. */
  push(entries: readonly PublishEntry[]): void {
    this.#queue.push(entries)
    for (const { suspect } of entries) if (suspect) this.#suspects++
    this.#pump()
  }

  setBlocked(reason: string | undefined): void {
    this.#blocked = reason
    // An alarm also ends with its connection, whose channel is about to close: nothing may be written on that channel.
    if (reason === undefined && this.#link.error === undefined) this.#pump()
  }

  get isWaiting(): boolean {
    return this.#queue.peek() !== undefined
  }

  /** True when no message waits or is unanswered. */
  get isIdle(): boolean {
    return this.#inFlight.size === 0 && !this.isWaiting && !this.#isRepairing
  }

  /** Ends unconfirmed messages with `closed`. */
  close(): void {
    this.#channel.close()
    for (const entry of [...this.#inFlight.drain(), ...this.#queue.waiting()]) entry.settle(closedBefore(entry.message))
    this.#queue.clear()
  }

  #pump(): void {
    this.#writeWaiting()
    this.#channel.flush()
  }

  #writeWaiting(): void {
    for (;;) {
      const entry = this.#queue.peek()
      if (entry === undefined || this.#blocked !== undefined || this.#isRepairing) return
      if (this.#suspects > 0 && this.#inFlight.isAwaited) return
      if (this.#first?.settled === false || this.#full !== undefined) return
      const writer = this.#channel.toWriteTo()
      if (writer === undefined) return
      this.#queue.shift()
      this.#send(writer, entry)
    }
  }

  #send(writer: FrameWriter, entry: PublishEntry): void {
    const routingKey = this.#encoder.routingKeyOf(entry.message)
    if (typeof routingKey !== 'string') return this.#settle(entry, routingKey)
    try {
      this.#write(writer, entry, routingKey)
    } catch (cause) {
      this.#unsendable(entry, toError(cause))
    }
  }

  #write(writer: FrameWriter, entry: PublishEntry, routingKey: string): void {
    const { exchange, content, options } = this.#encoder.encode(entry.message)
    entry.exchange = exchange
    entry.routingKey = routingKey
    const target = this.#targetOf(exchange, routingKey)
    const onConfirm = (error: Error | null): void => this.#confirmed(entry, target, error)
    writer.publish({ exchange, routingKey }, content, options, onConfirm)
    this.#inFlight.add(entry)
    entry.sent = true
    if (!target.hasAnswered) this.#first = entry
    if (++target.unanswered >= MOST_UNANSWERED) this.#full = target
  }

  #targetOf(exchange: string, routingKey: string): Target {
    const known = this.#targets.get(exchange)?.get(routingKey)
    if (known !== undefined) return known
    if (this.#targetCount >= MOST_TARGETS) this.#forgetIdleTargets()
    const target = { hasAnswered: false, unanswered: 0 }
    const ofExchange = this.#targets.get(exchange) ?? new Map<string, Target>()
    this.#targets.set(exchange, ofExchange.set(routingKey, target))
    this.#targetCount++
    return target
  }

  #forgetIdleTargets(): void {
    for (const ofExchange of this.#targets.values()) {
      for (const [routingKey, { unanswered }] of ofExchange) {
        if (unanswered === 0 && ofExchange.delete(routingKey)) this.#targetCount--
      }
    }
  }

  /** The driver threw: nothing was written. */
  #unsendable(entry: PublishEntry, cause: Error): void {
    if (cause.name === 'IllegalOperationError') {
      // The channel is closing: its `close` event decides about the remaining messages.
      this.#channel.full()
      this.#queue.putBack([entry])
      return
    }
    this.#settle(entry, this.#encoder.unwritable(entry.message, cause))
  }

  #confirmed(entry: PublishEntry, target: Target, error: Error | null): void {
    // With any other error the channel was closed: `#closed` decides.
    if (error !== null && error.message !== 'message nacked') return
    if (!this.#inFlight.delete(entry)) return
    target.unanswered--
    if (error !== null) this.#settle(entry, nacked(entry.message, error))
    else {
      target.hasAnswered = true
      this.#settle(entry, entry.returned ? unroutable(entry.message) : undefined)
    }
    if (this.#full === target) this.#full = undefined
    if (this.isWaiting) this.#pumpSoon()
  }

  /** Writes more when the driver has delivered all answers that it has: they leave many at a time. */
  #pumpSoon(): void {
    if (this.#willPump) return
    this.#willPump = true
    queueMicrotask(() => {
      this.#willPump = false
      this.#pump()
    })
  }

  #settle(entry: PublishEntry, outcome: PublishOutcome): void {
    if (entry.suspect) {
      entry.suspect = false
      this.#suspects--
    }
    entry.settle(outcome)
  }

  /** Settles messages that timed out. */
  expire(entries: readonly PublishEntry[], allowedMs: number): void {
    const cause = this.#link.error
    for (const entry of entries) {
      if (entry.settled) continue
      const { message } = entry
      // A written message may wait in the connection until the alarm ends.
      if (entry.sent) this.#settle(entry, unanswered(message, allowedMs, cause, this.#blocked))
      else if (this.#blocked !== undefined) this.#settle(entry, blocked(message, allowedMs, this.#blocked))
      else if (this.#inFlight.size > 0) this.#settle(entry, behindUnanswered(message, allowedMs))
      else this.#settle(entry, unreached(message, allowedMs, cause))
    }
    this.#pump()
  }

  #closed(error: Error | undefined): void {
    this.#first = undefined
    this.#full = undefined
    this.#targets.clear()
    this.#targetCount = 0
    const written = this.#inFlight.drain()
    const pending = written.filter((entry) => !entry.settled)
    if (error !== undefined && replyCodeOf(error) !== undefined) this.#investigate(pending, error, written.length === 1)
    else this.#abandon(pending)
    this.#pump()
  }

  /** The connection is lost. */
  #abandon(pending: readonly PublishEntry[]): void {
    const cause = this.#link.error
    const lines = new Set(pending.map(lineOf).filter((line) => line !== undefined))
    for (const entry of pending) this.#settle(entry, lost(entry.message, cause))
    if (lines.size === 0) return
    for (const entry of this.#queue.waiting()) {
      const line = lineOf(entry)
      if (line !== undefined && lines.has(line)) this.#settle(entry, behindLost(entry.message, cause))
    }
  }

  /**
   * @param isAlone the broker cannot have closed the channel over another message, such as one that timed out
   */
  #investigate(pending: readonly PublishEntry[], cause: Error, isAlone: boolean): void {
    const [alone] = pending
    if (alone === undefined || !isAlone) {
      this.#host.logger.warn({ err: cause, messages: pending.length }, 'RabbitMQ closed the channel over a message')
      this.#putBack(pending)
    } else if (replyCodeOf(cause) === NOT_FOUND && !alone.repaired) {
      alone.repaired = true
      void this.#repair(alone)
    } else {
      this.#settle(alone, rejected(alone.message, cause))
    }
  }

  /** The exchange is missing: declares it again and sends the message again. */
  async #repair(entry: PublishEntry): Promise<void> {
    this.#putBack([entry])
    this.#isRepairing = true
    try {
      await this.#host.reprovision(entry.message.destination)
    } catch (error) {
      this.#settle(entry, toTransportError('declare it again', error, entry.message.destination))
    }
    this.#isRepairing = false
    this.#pump()
  }

  /** Inserts the messages before all waiting ones, in the old order, to be sent one at a time. */
  #putBack(entries: readonly PublishEntry[]): void {
    for (const entry of entries) {
      entry.returned = false
      if (entry.suspect) continue
      entry.suspect = true
      this.#suspects++
    }
    this.#queue.putBack(entries)
  }
}

/** Exchange and routing key. */
interface Target {
  /** The broker has confirmed a message to this target on this channel. */
  hasAnswered: boolean
  unanswered: number
}

/**
 * RabbitMQ stopped reading after 300 to 600 messages to a quorum queue that hung, after 600 to 1,500 to a classic one: it gives
 * a channel a credit of 400 messages for each queue.
 */
const MOST_UNANSWERED = 256

const NOT_FOUND = 404
/** Above this number of targets, those without unanswered messages are forgotten; each then waits once more for an answer. */
const MOST_TARGETS = 1_000

/** Scope of the order: a destination and a key. */
function lineOf({ message }: PublishEntry): string | undefined {
  return message.key === null ? undefined : `${message.destination}\n${message.key}`
}
