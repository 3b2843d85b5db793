import { resolveBackoff } from '../../../core/backoff.ts'
import { MINUTE, SECOND } from '../../../core/clock.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportError } from '../../errors.ts'
import { ended } from '../../transport/kit/deadline.ts'
import { keepTrying } from '../../transport/kit/keep-trying.ts'
import type {
  Displacement,
  PublishOutcome,
  Receiver,
  Stall,
  Subscription,
  TransportDelivery,
  TransportHost,
} from '../../transport/transport.ts'
import { partitionIn } from '../group/position-text.ts'
import { delayTopicOf, fromDelayed, tierEndsAt } from '../wire/delay-topic.ts'
import { ForwardingFailures } from './forwarding-failures.ts'

export interface ForwarderHost extends Pick<TransportHost, 'clock' | 'logger'> {
  /** Joins the forwarders of the topic. @throws TransportError */
  subscribe(topic: string, receiver: Receiver): Promise<Subscription>
  /** Publishes. Called one at a time, returns one outcome per message, never rejects. */
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
  /** Tells whether this process delays messages itself; otherwise another process may forward them. */
  isNeeded(): boolean
  /** Called at each change with the reason why messages are not forwarded; `undefined` when they are again. */
  stalled(stall: Stall | undefined): void
  displaced(displacement: Displacement): void
}

const BACKOFF = resolveBackoff('kafkaTransport', { initialMs: 200, maxMs: 5 * SECOND })
/** Messages due within this time are forwarded together. */
const GATHER_MS = 5
/** A wall clock may be corrected during the wait. */
const MAX_TIMER_MS = MINUTE
const RETRY_MS = SECOND
/** Pause after a permanent refusal, which an operator has to resolve. */
const REFUSED_MS = 30 * SECOND
const MAX_BATCH = 500
/** Longest time that `close` waits for the confirms of a publish in flight. */
const FINISH_MS = 3 * SECOND
/** A place held for this long, or received messages, show that joining works. */
const STEADY_MS = 10 * SECOND

interface Held {
  readonly delivery: TransportDelivery
  readonly message: EncodedMessage
  /** Epoch ms. */
  until: number
  /** Latest refusal of the broker. */
  refusal?: TransportError | undefined
}

/**
 * Moves due messages out of the delay topic of one destination: to the next tier, or to the destination. A member of a durable
 * group of all processes that use the destination, so any of them may die.
 *
 * A record is settled after it was confirmed in its next place: a crash in between repeats it, with the same id. Waiting messages
 * do not block the place in the group: records are held unsettled while the adapter sends heartbeats, fetches at most a window
 * per tier, and gives them back when the group rebalances.
 */
export class Forwarder {
  readonly #destination: string
  readonly #topic: string
  readonly #host: ForwarderHost
  readonly #failures: ForwardingFailures
  readonly #held: Set<Held> = new Set()
  readonly #closing = new AbortController()
  readonly #loop: Promise<void>
  #timer: { readonly at: number; readonly cancel: () => void } | undefined
  #sending: Promise<void> | undefined

  constructor(destination: string, host: ForwarderHost) {
    this.#destination = destination
    this.#topic = delayTopicOf(destination)
    this.#host = host
    this.#failures = new ForwardingFailures(this.#topic, host, (stall) => host.stalled(stall))
    this.#loop = this.#keep()
  }

  /** Waits up to 3 s for the confirms of a publish in flight and releases the rest, for redelivery. Idempotent, never rejects. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#loop
  }

  /** Joins the forwarders, and again after a loss, until closed. */
  async #keep(): Promise<void> {
    const { clock } = this.#host
    const { signal } = this.#closing
    const serve = async (): Promise<boolean> => {
      await this.#serve(signal)
      return false
    }
    await keepTrying({ clock, backoff: BACKOFF, signal }, serve, (error) => this.#hasFailed(error))
  }

  #hasFailed(error: unknown): void {
    if (!this.#closing.signal.aborted) this.#failures.failed('place', error, !this.#host.isNeeded())
  }

  /** Runs from joining to the loss of the place. @throws TransportError */
  async #serve(signal: AbortSignal): Promise<void> {
    const lost = Promise.withResolvers<void>()
    const closing = Promise.withResolvers<void>()
    const close = (): void => closing.resolve()
    let cancel = (): void => {}
    signal.addEventListener('abort', close)
    try {
      const subscription = await this.#host.subscribe(this.#topic, {
        deliver: (delivery) => this.#hold(delivery),
        recall: () => this.#giveBack(),
        lost: (error) => {
          this.#hasFailed(error)
          lost.resolve()
        },
        stalled: (stall) => this.#failures.says(stall),
        displaced: (displacement) => this.#displacedBy(displacement),
      })
      cancel = this.#host.clock.setTimer(STEADY_MS, () => this.#failures.worked('place'))
      await Promise.race([lost.promise, closing.promise])
      this.#giveBack()
      const sent = this.#sending ?? Promise.resolve()
      await Promise.race([sent, closing.promise.then(() => ended(this.#host.clock, FINISH_MS, sent))])
      await subscription.close()
    } finally {
      cancel()
      this.#failures.ended('reading')
      signal.removeEventListener('abort', close)
    }
  }

  #hold(delivery: TransportDelivery): void {
    if (this.#closing.signal.aborted) {
      delivery.release()
      return
    }
    this.#failures.worked('place')
    const delayed = fromDelayed(delivery.message, this.#destination)
    if (delayed === undefined) {
      this.#host.logger.warn({ topic: this.#topic, position: delivery.position }, 'not a delayed message, left out')
      delivery.ack()
      return
    }
    // If the sender's clock is ahead, `until` can be later than the maximum of this tier. The message is then forwarded to the
    // tier for the remaining delay, so that it takes no capacity here.
    const until = Math.min(delayed.until, tierEndsAt(partitionIn(delivery.position), this.#host.clock.now()))
    this.#held.add({ delivery, message: delayed.message, until })
    this.#wakeAt(until)
  }

  #displacedBy(displacement: Displacement): void {
    const { reason, skipped, repeated, isLoss } = displacement
    const fields = { topic: this.#topic, skipped, repeated }
    if (isLoss) this.#host.logger.error(fields, `delayed messages are lost: ${reason}`)
    else this.#host.logger.warn(fields, `the forwarders begin at an unexpected position: ${reason}`)
    this.#host.displaced(displacement)
  }

  #giveBack(): void {
    this.#failures.ended('publishing')
    for (const { delivery } of this.#held) delivery.release()
    this.#held.clear()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #wakeAt(until: number): void {
    if (this.#sending !== undefined || (this.#timer !== undefined && this.#timer.at <= until)) return
    this.#timer?.cancel()
    const waitMs = Math.min(Math.max(until - this.#host.clock.now(), 0) + GATHER_MS, MAX_TIMER_MS)
    const cancel = this.#host.clock.setTimer(waitMs, () => {
      this.#timer = undefined
      this.#sending = this.#forwardDue()
    })
    this.#timer = { at: until, cancel }
  }

  /** Forwards all due messages, then waits for the next. */
  async #forwardDue(): Promise<void> {
    // The caller stores this promise after the call, so values set at the end must be set later, even when nothing is due.
    await Promise.resolve()
    for (let due = this.#takeDue(); due.length > 0; due = this.#takeDue()) await this.#forward(due)
    this.#sending = undefined
    let next = Number.POSITIVE_INFINITY
    for (const { until } of this.#held) next = Math.min(next, until)
    if (next < Number.POSITIVE_INFINITY) this.#wakeAt(next)
  }

  #takeDue(): Held[] {
    const now = this.#host.clock.now()
    const due: Held[] = []
    for (const each of this.#held) {
      if (each.delivery.signal.aborted) this.#held.delete(each)
      else if (each.until <= now && due.length < MAX_BATCH) due.push(each)
    }
    for (const each of due) this.#held.delete(each)
    return due
  }

  async #forward(due: readonly Held[]): Promise<void> {
    const outcomes = await this.#host.publish(due.map(({ message }) => message))
    for (const [i, each] of due.entries()) {
      const outcome = outcomes[i]
      if (outcome === undefined) each.delivery.ack()
      else this.#holdAgain(each, outcome)
    }
    const refused = Array.from(this.#held, ({ refusal }) => refusal).find((each) => each !== undefined)
    if (refused !== undefined) this.#failures.failed('publishing', refused)
    else if (outcomes.includes(undefined)) this.#failures.worked('publishing')
  }

  /**
   * Keeps a message for another try. A refused one is reported while it waits, because it blocks the position, so a restart
   * forwards all later messages again.
   */
  #holdAgain(each: Held, outcome: TransportError): void {
    const { clock, logger } = this.#host
    const isRefused = isRefusal(outcome)
    const fields = { topic: this.#topic, position: each.delivery.position, err: outcome }
    if (outcome.retryable) logger.debug(fields, 'a delayed message was not forwarded, trying again')
    else if (isRefused && each.refusal === undefined)
      logger.error(fields, 'a delayed message is refused by its destination; it stays and is tried again')
    each.refusal = isRefused ? outcome : undefined
    each.until = clock.now() + (outcome.retryable ? RETRY_MS : REFUSED_MS)
    if (this.#closing.signal.aborted) each.delivery.release()
    else this.#held.add(each)
  }
}

function isRefusal({ kind, retryable }: TransportError): boolean {
  return kind === 'refused' || (!retryable && kind !== 'closed')
}
