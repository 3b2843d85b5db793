import { systemClock } from 'concordat/core'
import type { RelayPublisher } from '../../support/inside/outbox.ts'
import type { Random } from './random.ts'

type Messages = Parameters<RelayPublisher['publish']>[0]

const LATEST_MS = 800

/**
 * Publisher between a relay and the broker: may send a second copy of a message up to 800 ms later, after later
 * messages, and sends the messages of one call in any order. Every transport may do that, and seldom does.
 */
export class Repeats implements RelayPublisher {
  readonly #publisher: RelayPublisher
  readonly #random: Random
  readonly #told: () => void
  #chance = 0

  /**
   * @param told called with each copy that the broker accepted
   */
  constructor(publisher: RelayPublisher, random: Random, told: () => void) {
    this.#publisher = publisher
    this.#random = random
    this.#told = told
  }

  set chance(chance: number) {
    this.#chance = chance
  }

  async publish(messages: Messages): ReturnType<RelayPublisher['publish']> {
    if (this.#chance === 0) return this.#publisher.publish(messages)
    const order = this.#random.shuffled([...messages.keys()])
    const outcomes = await this.#publisher.publish(order.map((index) => messages[index] as Messages[number]))
    for (const message of messages) if (this.#random.chance(this.#chance)) void this.#again(message)
    return messages.map((_, index) => outcomes[order.indexOf(index)])
  }

  async #again(message: Messages[number]): Promise<void> {
    await systemClock.sleep(this.#random.between(0, LATEST_MS))
    const [failure] = await this.#publisher.publish([message])
    if (failure === undefined) this.#told()
  }
}
