import type { EncodedMessage } from '../channel/message.ts'
import type { TransportError } from '../errors.ts'
import type { MemoryPartition, Waiting } from './partition.ts'

interface WaitingMessage extends Waiting {
  readonly index: number
  readonly partition: MemoryPartition
}

/** The messages of one publish call whose partitions are full. */
export class RoomWait {
  /** Errors of messages that were not accepted, by their index in the call. */
  readonly failed: Map<number, TransportError> = new Map()
  readonly #left: Set<WaitingMessage> = new Set()
  #resolve: () => void = () => {}
  /** Resolves when each message is accepted or has failed. */
  readonly over: Promise<void> = new Promise((resolve) => (this.#resolve = resolve))

  add(index: number, partition: MemoryPartition, message: EncodedMessage): void {
    const place: WaitingMessage = { index, partition, message, onIn: () => this.#done(place) }
    this.#left.add(place)
    partition.wait(place)
  }

  giveUp(error: () => TransportError): void {
    for (const place of this.#left) this.#fail(place, error())
  }

  /** Ends the wait: messages are accepted where that may help, the others fail, and so do those behind a failed one. */
  squeeze(error: (message: EncodedMessage, partition: MemoryPartition) => TransportError): void {
    const refused = new Set<MemoryPartition>()
    for (const place of this.#left) {
      const { message, partition } = place
      if (refused.has(partition) || !partition.squeeze(place)) {
        refused.add(partition)
        this.#fail(place, error(message, partition))
      } else {
        partition.leave(place)
        this.#done(place)
      }
    }
  }

  #fail(place: WaitingMessage, error: TransportError): void {
    place.partition.leave(place)
    this.failed.set(place.index, error)
    this.#done(place)
  }

  #done(place: WaitingMessage): void {
    this.#left.delete(place)
    if (this.#left.size === 0) this.#resolve()
  }
}
