import { PrefetchWindow } from '../../transport/kit/prefetch-window.ts'
import type { SubscriptionSpec } from '../../transport/transport.ts'
import type { RabbitDelivery } from './delivery.ts'
import type { QueueConsumer } from './queue-consumer.ts'

export interface QueueLendingEvents {
  /** Called before each delivery. */
  mayLend(): boolean
  deliver(delivery: RabbitDelivery): void
}

/** Lends the messages that wait in the consumers of a subscription, within one window over all of its queues. */
export class MessageLending {
  readonly #spec: Pick<SubscriptionSpec, 'prefetch' | 'prefetchBytes'>
  readonly #consumers: readonly QueueConsumer[]
  readonly #events: QueueLendingEvents
  readonly #window: PrefetchWindow
  #isPaused = false
  #lending = false
  #lendScheduled = false
  #waiting = 0
  #waitingBytes = 0

  constructor(
    spec: Pick<SubscriptionSpec, 'prefetch' | 'prefetchBytes'>,
    consumers: readonly QueueConsumer[],
    events: QueueLendingEvents,
  ) {
    this.#spec = spec
    this.#consumers = consumers
    this.#events = events
    this.#window = new PrefetchWindow(spec)
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  pause(): void {
    this.#isPaused = true
    for (const consumer of this.#consumers) consumer.flush()
  }

  resume(): void {
    this.#isPaused = false
    this.lend()
  }

  /** Number of messages that wait or are lent. */
  get held(): number {
    return this.#window.count + this.#waiting
  }

  get holdsAcks(): boolean {
    return !this.#isPaused && this.#window.bytes + this.#waitingBytes > this.#spec.prefetchBytes
  }

  arrived(consumer: QueueConsumer, delivery: RabbitDelivery): void {
    this.#waiting++
    this.#waitingBytes += delivery.bytes
    // Nothing else waits, so not every consumer has to be checked.
    if (this.#waiting === 1 && !this.#lending && this.#mayLend()) this.#lendFrom(consumer)
    else this.lend()
  }

  ended(bytes: number, returned: boolean): void {
    const held = this.holdsAcks
    this.#window.free(bytes)
    if (returned) {
      this.#waiting++
      this.#waitingBytes += bytes
      this.lendSoon()
      return
    }
    if (held) this.#flushHeld()
    if (this.#waiting > 0) this.lend()
  }

  dropped(lent: number, lentBytes: number, waiting: number, waitingBytes: number): void {
    this.#window.free(lentBytes, lent)
    this.#waiting -= waiting
    this.#waitingBytes -= waitingBytes
    this.#flushHeld()
    this.lendSoon()
  }

  #flushHeld(): void {
    if (!this.holdsAcks) for (const consumer of this.#consumers) consumer.flush()
  }

  #mayLend(): boolean {
    return !this.#isPaused && this.#window.isOpen && this.#events.mayLend()
  }

  /** Lends waiting messages, one from each consumer in turn, while the window is open. */
  lend(): void {
    if (this.#lending) return
    this.#lending = true
    for (let found = true; found && this.#waiting > 0; ) {
      found = false
      for (const consumer of this.#consumers) {
        if (!this.#mayLend()) break
        if (this.#lendFrom(consumer)) found = true
      }
    }
    this.#lending = false
  }

  #lendFrom(consumer: QueueConsumer): boolean {
    const delivery = consumer.take()
    if (delivery === undefined) return false
    this.#waiting--
    this.#waitingBytes -= delivery.bytes
    this.#window.take(delivery.bytes)
    this.#events.deliver(delivery)
    return true
  }

  /** Delayed, so that all messages returned in one turn are in their places before any is lent again. */
  lendSoon(): void {
    if (this.#lendScheduled) return
    this.#lendScheduled = true
    setImmediate(() => {
      this.#lendScheduled = false
      this.lend()
    })
  }
}
