import { SECOND } from '../../../core/clock.ts'
import type { DestinationSpec, TransportHost } from '../../transport/transport.ts'
import type { AdminLink } from '../driver.ts'
import type { KafkaPublisher } from '../publisher.ts'
import type { KafkaSettings } from '../settings.ts'
import type { Subscriber } from '../subscriber.ts'
import type { Topics } from '../topics.ts'
import { delayTopicOf, TIERS_MS } from '../wire/delay-topic.ts'
import type { DelayedMessageListeners } from './delayed-message-listeners.ts'
import { Forwarder } from './forwarder.ts'

/** Delay of the first check: destinations provisioned together are checked together. */
const FIRST_LOOK_MS = 200
/** Time after which an unconfirmed message is forwarded again, because it is not settled. */
const FORWARD_TIMEOUT_MS = 30 * SECOND

export interface DelaysParts {
  readonly settings: Pick<KafkaSettings, 'delayDiscoveryMs'>
  readonly admin: AdminLink
  readonly topics: Topics
  readonly subscriber: Subscriber
  /**
   * A separate publisher, which this closes, so that forwarding and the service's own sends do not wait for each other. A
   * destination has one forwarder, which makes one call at a time, as the producer requires.
   */
  readonly publisher: KafkaPublisher
  readonly news: DelayedMessageListeners
}

/**
 * Forwards the delayed messages of the destinations that this process uses. For messages that it delays itself at once; for
 * others as soon as a periodic check finds a delay topic, because the process that delayed a message may have died.
 */
export class Delays {
  readonly #parts: DelaysParts
  readonly #host: TransportHost
  readonly #forwarders: Map<string, Forwarder> = new Map()
  /** Destinations that this process delays messages to. */
  readonly #own: Set<string> = new Set()
  /** Destinations in use without a delay topic so far. */
  readonly #plain: Set<string> = new Set()
  #cancelLook: (() => void) | undefined
  #closed = false

  constructor(parts: DelaysParts, host: TransportHost) {
    this.#parts = parts
    this.#host = host
  }

  /** Called when the destinations, and the delay topics of those with `delays`, exist. */
  use(specs: readonly DestinationSpec[]): void {
    for (const { name, delays, deadLetters } of specs) {
      if (delays === true) this.#own.add(name)
      if (delays === true) this.#forward(name)
      else if (deadLetters !== true && !this.#forwarders.has(name)) this.#plain.add(name)
    }
    this.#lookIn(FIRST_LOOK_MS)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelLook?.()
    await Promise.all([...this.#forwarders.values()].map((forwarder) => forwarder.close()))
    await this.#parts.publisher.close()
  }

  #forward(name: string): void {
    this.#plain.delete(name)
    if (this.#closed || this.#forwarders.has(name)) return
    const { clock, logger } = this.#host
    const { subscriber, publisher, news } = this.#parts
    const forwarder = new Forwarder(name, {
      clock,
      logger,
      subscribe: (topic, receiver) => subscriber.subscribeTiers(topic, receiver),
      publish: (messages) => publisher.publish(messages, { deadline: clock.monotonic() + FORWARD_TIMEOUT_MS }),
      isNeeded: () => this.#own.has(name),
      stalled: (stall) => news.stalled(name, stall),
      displaced: (displacement) => news.displaced(name, displacement),
    })
    this.#forwarders.set(name, forwarder)
  }

  #lookIn(delayMs: number): void {
    if (this.#closed || this.#plain.size === 0 || this.#cancelLook !== undefined) return
    this.#cancelLook = this.#host.clock.setTimer(delayMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    const { admin, topics, settings } = this.#parts
    try {
      const existing = new Set(await admin.use('looking for delayed messages', (each) => each.listTopics()))
      for (const name of Array.from(this.#plain)) {
        const topic = delayTopicOf(name)
        if (!existing.has(topic)) continue
        if ((await topics.verify(topic)) === TIERS_MS.length) this.#forward(name)
        else this.#plain.delete(name)
      }
    } catch (err) {
      this.#host.logger.debug({ err }, 'could not look for delayed messages')
    }
    this.#cancelLook = undefined
    this.#lookIn(settings.delayDiscoveryMs)
  }
}
