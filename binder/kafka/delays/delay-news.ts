import type { Displacement, Hindrance, Receiver, Subscription, TransportDelivery } from '../../transport/transport.ts'

interface Listener {
  readonly receiver: Receiver
  hindered(hindrance: Hindrance | undefined): void
}

/** Tells the subscriptions to a destination what becomes of the messages that are delayed on their way to it. */
export class DelayNews {
  readonly #hindrances = new Map<string, Hindrance>()
  readonly #listeners = new Map<string, Set<Listener>>()

  hindered(destination: string, hindrance: Hindrance | undefined): void {
    if (hindrance === undefined) this.#hindrances.delete(destination)
    else this.#hindrances.set(destination, hindrance)
    for (const listener of this.#listenersOf(destination)) listener.hindered(hindrance)
  }

  displaced(destination: string, displacement: Displacement): void {
    for (const { receiver } of this.#listenersOf(destination)) receiver.displaced?.(displacement)
  }

  /** Subscribes with a receiver that hears of the delayed messages as of its own. @throws as `subscribe` */
  async subscribed(
    destination: string,
    receiver: Receiver,
    subscribe: (receiver: Receiver) => Promise<Subscription>,
  ): Promise<Subscription> {
    let own: Hindrance | undefined
    const tell = (): void => {
      const all = [own, this.#hindrances.get(destination)]
      receiver.hindered?.(all.find((each) => each?.isPassing === false) ?? all.find(Boolean))
    }
    const listener: Listener = { receiver, hindered: tell }
    const listeners = this.#listenersOf(destination)
    let isOver = false
    const leave = (): void => {
      isOver = true
      listeners.delete(listener)
    }
    try {
      const subscription = await subscribe({
        deliver: (delivery: TransportDelivery) => receiver.deliver(delivery),
        recall: () => receiver.recall(),
        lost: (error) => {
          leave()
          receiver.lost(error)
        },
        hindered: (hindrance) => {
          own = hindrance
          tell()
        },
        ...(receiver.displaced && { displaced: (displacement) => receiver.displaced?.(displacement) }),
      })
      if (!isOver) listeners.add(listener)
      if (!isOver && this.#hindrances.has(destination)) tell()
      return {
        pause: () => subscription.pause(),
        resume: () => subscription.resume(),
        close: () => {
          leave()
          return subscription.close()
        },
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  #listenersOf(destination: string): Set<Listener> {
    let listeners = this.#listeners.get(destination)
    if (listeners === undefined) this.#listeners.set(destination, (listeners = new Set()))
    return listeners
  }
}
