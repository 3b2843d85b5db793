import type { RabbitDelivery } from './delivery.ts'

/** Deliveries that arrived and are not lent, in the order of their tags. */
export class WaitingLine {
  #all: RabbitDelivery[] = []
  #next = 0
  #isDisordered = false

  /** Adds a new message at the end. */
  push(delivery: RabbitDelivery): void {
    this.#all.push(delivery)
  }

  /** Adds a returned message; the next read sorts it into its old place. */
  putBack(delivery: RabbitDelivery): void {
    this.#all.push(delivery)
    this.#isDisordered = true
  }

  get first(): RabbitDelivery | undefined {
    if (this.#isDisordered) this.#sort()
    return this.#all[this.#next]
  }

  take(): RabbitDelivery | undefined {
    const delivery = this.first
    if (delivery === undefined) return undefined
    this.#next++
    if (this.#next === this.#all.length) this.#clear()
    return delivery
  }

  /** Takes all, in no order. */
  drain(): readonly RabbitDelivery[] {
    const left = this.#all.slice(this.#next)
    this.#clear()
    return left
  }

  #sort(): void {
    this.#all = this.#all.slice(this.#next).sort((a, b) => a.tag - b.tag)
    this.#next = 0
    this.#isDisordered = false
  }

  #clear(): void {
    this.#all = []
    this.#next = 0
    this.#isDisordered = false
  }
}
