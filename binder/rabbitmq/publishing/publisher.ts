import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportError } from '../../errors.ts'
import type { PublishOutcome, PublishUntil } from '../../transport/transport.ts'
import type { Link } from '../link/connection.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { OrderedPublisher, type PublisherHost } from './ordered-publisher.ts'
import { PublishCall, type PublishEntry } from './publish-call.ts'
import { closedBefore } from './publish-errors.ts'

/** Destinations that share a queue and a channel; mostly a single destination. */
interface Lane {
  readonly publisher: OrderedPublisher
  readonly destinations: Set<string>
}

/** Messages of a call to one destination. */
interface Part {
  readonly publisher: OrderedPublisher
  readonly entries: readonly PublishEntry[]
}

/** Channels for sending on a connection. */
const MOST_LANES = 64

/**
 * Publishes on a queue and a channel per destination, so that messages to other destinations do not wait for a destination that
 * the broker does not answer. When all channels are open, a further destination takes the least recently used channel without
 * an unanswered message, and shares one only if every channel has such messages. A destination keeps its channel while it has
 * messages there, so everything sent to it stays in order.
 */
export class RabbitPublisher {
  readonly #link: Link
  readonly #options: ResolvedRabbitOptions
  readonly #host: PublisherHost
  readonly #lanes: Lane[] = []
  /** Least recently used destination first. */
  readonly #byDestination: Map<string, Lane> = new Map()
  /** Reason of the broker's alarm. */
  #blocked: string | undefined
  #isClosed = false

  constructor(link: Link, options: ResolvedRabbitOptions, host: PublisherHost) {
    this.#link = link
    this.#options = options
    this.#host = host
    this.#open()
  }

  /** Why the message can never be written, before it is published. */
  cannotTake(message: EncodedMessage): TransportError | undefined {
    return (this.#lanes[0] as Lane).publisher.cannotTake(message)
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
      const parts: Part[] = []
      call.onSettled = clock.setTimer(allowedMs, () => expire(call, parts))
      // A lane is taken and filled in one step; otherwise the next destination could take the empty lane too.
      for (const [destination, entries] of Map.groupBy(call.entries, ({ message }) => message.destination)) {
        const { publisher } = this.#laneOf(destination)
        parts.push({ publisher, entries })
        publisher.push(entries)
      }
    })
  }

  setBlocked(reason: string | undefined): void {
    this.#blocked = reason
    if (reason !== undefined) this.#host.logger.warn({ reason }, 'RabbitMQ takes no messages for now (resource alarm)')
    for (const { publisher } of this.#lanes) publisher.setBlocked(reason)
  }

  /** Why messages wait for the end of an alarm; `undefined` without an alarm. */
  get alarm(): string | undefined {
    return this.#lanes.some(({ publisher }) => publisher.isWaiting) ? this.#blocked : undefined
  }

  /** Ends unconfirmed messages with `closed`. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const { publisher } of this.#lanes) publisher.close()
  }

  #laneOf(destination: string): Lane {
    const held = this.#byDestination.get(destination)
    const mayLeave = held !== undefined && held.destinations.size > 1 && held.publisher.isIdle
    if (mayLeave) held.destinations.delete(destination)
    const lane = held === undefined || mayLeave ? this.#freeLane() : held
    lane.destinations.add(destination)
    this.#byDestination.delete(destination)
    this.#byDestination.set(destination, lane)
    return lane
  }

  /** A lane without a destination; a shared one if all others have unanswered messages. */
  #freeLane(): Lane {
    const unused = this.#lanes.find(({ destinations }) => destinations.size === 0)
    if (unused !== undefined) return unused
    if (this.#lanes.length < Math.min(MOST_LANES, this.#link.channelMax)) return this.#open()
    let latest: Lane | undefined
    for (const lane of this.#byDestination.values()) {
      latest = lane
      if (lane.publisher.isIdle) return this.#emptied(lane)
    }
    return latest as Lane
  }

  #emptied(lane: Lane): Lane {
    for (const destination of lane.destinations) this.#byDestination.delete(destination)
    lane.destinations.clear()
    return lane
  }

  #open(): Lane {
    const publisher = new OrderedPublisher(this.#link, this.#options, this.#host)
    const lane = { publisher, destinations: new Set<string>() }
    publisher.setBlocked(this.#blocked)
    this.#lanes.push(lane)
    return lane
  }
}

function expire({ allowedMs }: PublishCall, parts: readonly Part[]): void {
  const roundedMs = Math.max(0, Math.round(allowedMs))
  for (const { publisher, entries } of parts) publisher.expire(entries, roundedMs)
}
