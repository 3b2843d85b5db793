import type { Displacement, Receiver, Stall, Subscription, TransportDelivery } from '../../transport/transport.ts'

interface Listener {
  readonly receiver: Receiver
  stalled(stall: Stall | undefined): void
}

/** Notifies the subscriptions to a destination about messages that are delayed on their way to it. */
export class DelayedMessageListeners {
  readonly #stalls = new Map<string, Stall>()
  readonly #listeners = new Map<string, Set<Listener>>()

  stalled(destination: string, stall: Stall | undefined): void {
    if (stall === undefined) this.#stalls.delete(destination)
    else this.#stalls.set(destination, stall)
    for (const listener of this.#listenersOf(destination)) listener.stalled(stall)
  }

  displaced(destination: string, displacement: Displacement): void {
    for (const { receiver } of this.#listenersOf(destination)) receiver.displaced?.(displacement)
  }

  /** Subscribes with a receiver that is also notified about delayed messages. @throws the errors of `subscribe` */
  async subscribed(
    destination: string,
    receiver: Receiver,
    subscribe: (receiver: Receiver) => Promise<Subscription>,
  ): Promise<Subscription> {
    let own: Stall | undefined
    const tell = (): void => {
      const all = [own, this.#stalls.get(destination)]
      receiver.stalled?.(all.find((each) => each?.isPassing === false) ?? all.find(Boolean))
    }
    const listener: Listener = { receiver, stalled: tell }
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
        isHeld: () => receiver.isHeld?.() === true,
        lost: (error) => {
          leave()
          receiver.lost(error)
        },
        stalled: (stall) => {
          own = stall
          tell()
        },
        ...(receiver.displaced && { displaced: (displacement) => receiver.displaced?.(displacement) }),
      })
      if (!isOver) listeners.add(listener)
      if (!isOver && this.#stalls.has(destination)) tell()
      return {
        pause: () => subscription.pause(),
        resume: () => subscription.resume(),
        finishGaps: async (over) => subscription.finishGaps?.(over),
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
