import type {
  Displacement,
  Receiver,
  Stall,
  Subscription,
  SubscriptionSpec,
  Transport,
  TransportDelivery,
} from '../transport/transport.ts'
import { isRetryOfOther, RetryDelivery, retryName } from './failure/retry-destination.ts'

/**
 * A binding's place in its channel and, from the start or later, in the channel of its group's retries, as one subscription: both
 * are lost, paused and closed together. Each has the whole prefetch.
 */
export class ChannelAndRetriesSubscription implements Subscription {
  readonly #transport: Transport
  readonly #spec: SubscriptionSpec
  readonly #receiver: Receiver
  readonly #open: Subscription[] = []
  readonly #stalls: [Stall | undefined, Stall | undefined] = [undefined, undefined]
  #isPaused = false
  #isOver = false

  private constructor(transport: Transport, spec: SubscriptionSpec, receiver: Receiver) {
    this.#transport = transport
    this.#spec = spec
    this.#receiver = receiver
  }

  /** @param withRetries needs a group @throws TransportError */
  static async open(
    transport: Transport,
    spec: SubscriptionSpec,
    receiver: Receiver,
    withRetries: boolean,
  ): Promise<ChannelAndRetriesSubscription> {
    const made = new ChannelAndRetriesSubscription(transport, spec, receiver)
    try {
      if (withRetries) await made.addRetries()
      const deliver = (delivery: TransportDelivery): void => receiver.deliver(delivery)
      await made.#add(spec, deliver, 1)
      return made
    } catch (error) {
      await made.close()
      throw error
    }
  }

  /** Reads returning messages, too. If this fails, the rest continues. @throws TransportError */
  async addRetries(): Promise<void> {
    const { destination, group } = this.#spec
    const retries = { ...this.#spec, destination: retryName(destination, group ?? '') }
    const deliver = (copy: TransportDelivery): void => {
      if (isRetryOfOther(copy, destination)) copy.ack()
      else this.#receiver.deliver(new RetryDelivery(copy, destination))
    }
    await this.#add(retries, deliver, 0)
  }

  /** Reports why the retries are not read; `undefined`: they are. */
  retriesStalled(stall: Stall | undefined): void {
    this.#stalled(0, stall)
  }

  pause(): void {
    this.#isPaused = true
    for (const subscription of this.#open) subscription.pause()
  }

  resume(): void {
    this.#isPaused = false
    for (const subscription of this.#open) subscription.resume()
  }

  async finishGaps(over: AbortSignal): Promise<void> {
    await Promise.all(this.#open.map(async (subscription) => subscription.finishGaps?.(over)))
  }

  async close(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#open.map((subscription) => subscription.close()))
  }

  async #add(spec: SubscriptionSpec, deliver: Receiver['deliver'], place: 0 | 1): Promise<void> {
    const receiver = this.#receiver
    const subscription = await this.#transport.subscribe(spec, {
      deliver,
      recall: () => receiver.recall(),
      isHeld: () => receiver.isHeld?.() === true,
      displaced: (displacement: Displacement) => receiver.displaced?.(displacement),
      stalled: (stall) => this.#stalled(place, stall),
      lost: (error: Error) => {
        if (this.#isOver) return
        this.#isOver = true
        receiver.lost(error)
      },
    })
    if (this.#isOver) await subscription.close()
    else this.#open.push(subscription)
    if (this.#isPaused) subscription.pause()
  }

  #stalled(place: 0 | 1, stall: Stall | undefined): void {
    this.#stalls[place] = stall
    const [first, second] = this.#stalls
    this.#receiver.stalled?.([first, second].find((each) => each?.isPassing === false) ?? first ?? second)
  }
}
