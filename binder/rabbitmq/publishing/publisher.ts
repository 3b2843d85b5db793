import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportError } from '../../errors.ts'
import type { PublishOutcome, PublishUntil } from '../../transport/transport.ts'
import type { Link } from '../link/connection.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { OrderedPublisher, type PublisherHost } from './ordered-publisher.ts'
import { PublishCall, type PublishEntry } from './publish-call.ts'
import { closedBefore } from './publish-errors.ts'

/**
 * The way to the broker: one queue and channel for all destinations, except those that the broker once did not answer for. Each of these
 * has its own from then on, so that messages to other destinations do not wait for it.
 */
export class RabbitPublisher {
  readonly #link: Link
  readonly #options: ResolvedRabbitOptions
  readonly #host: PublisherHost
  /** For all destinations without their own. */
  #shared: OrderedPublisher
  readonly #ownByDestination: Map<string, OrderedPublisher> = new Map()
  /** Reason of the broker's alarm. */
  #blocked: string | undefined
  #isClosed = false

  constructor(link: Link, options: ResolvedRabbitOptions, host: PublisherHost) {
    this.#link = link
    this.#options = options
    this.#host = host
    this.#shared = this.#open()
  }

  /** Why the message can never be written, before it is published. */
  cannotTake(message: EncodedMessage): TransportError | undefined {
    return this.#shared.cannotTake(message)
  }

  publish(messages: readonly EncodedMessage[], until: PublishUntil = {}): Promise<readonly PublishOutcome[]> {
    const { clock } = this.#host
    const allowedMs = (until.deadline ?? Number.POSITIVE_INFINITY) - clock.monotonic()
    return new Promise((resolve) => {
      const call = new PublishCall(messages, allowedMs, resolve, until.onOutcome)
      if (messages.length === 0) return
      if (this.#isClosed) {
        for (const entry of call.entries) entry.settle(closedBefore(entry.message))
        return
      }
      call.onSettled = clock.setTimer(allowedMs, () => this.#expire(call))
      for (const [publisher, entries] of this.#byPublisher(call.entries)) publisher.push(entries)
    })
  }

  setBlocked(reason: string | undefined): void {
    this.#blocked = reason
    if (reason !== undefined) this.#host.logger.warn({ reason }, 'RabbitMQ takes no messages for now (resource alarm)')
    for (const publisher of this.#all()) publisher.setBlocked(reason)
  }

  /** Why messages wait for the end of an alarm; `undefined`: none does. */
  get alarm(): string | undefined {
    return this.#all().some(({ isWaiting }) => isWaiting) ? this.#blocked : undefined
  }

  /** Ends what is unconfirmed with `closed`. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const publisher of this.#all()) publisher.close()
  }

  #open(): OrderedPublisher {
    const publisher: OrderedPublisher = new OrderedPublisher(this.#link, this.#options, this.#host, (destination) =>
      this.#isolate(destination, publisher),
    )
    publisher.setBlocked(this.#blocked)
    return publisher
  }

  /** Leaves the shared queue and channel to a destination that the broker does not answer for, and moves the others to new ones. */
  #isolate(destination: string, publisher: OrderedPublisher): void {
    if (publisher !== this.#shared) return
    this.#host.logger.warn(
      { destination },
      'RabbitMQ does not answer for a destination, which gets a channel of its own',
    )
    this.#ownByDestination.set(destination, publisher)
    this.#shared = this.#open()
    this.#shared.push(publisher.withdrawAllBut(destination))
  }

  #expire(call: PublishCall): void {
    const allowedMs = Math.max(0, Math.round(call.allowedMs))
    for (const [publisher, entries] of this.#byPublisher(call.entries)) publisher.expire(entries, allowedMs)
  }

  #all(): readonly OrderedPublisher[] {
    return [this.#shared, ...this.#ownByDestination.values()]
  }

  #byPublisher(entries: readonly PublishEntry[]): ReadonlyMap<OrderedPublisher, readonly PublishEntry[]> {
    if (this.#ownByDestination.size === 0) return new Map([[this.#shared, entries]])
    return Map.groupBy(entries, ({ message }) => this.#ownByDestination.get(message.destination) ?? this.#shared)
  }
}
