import type { Clock } from '../../core/clock.ts'
import { within } from '../transport/kit/deadline.ts'

/** Mutex: a single holder, in the order of requests. */
export class Mutex {
  #last: Promise<void> = Promise.resolve()

  /**
   * @returns a function that releases it
   * @throws the result of `late` after `durationMs`
   */
  take(clock: Clock, durationMs: number, late: () => Error): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const before = this.#last
    this.#last = promise
    let isGivenUp = false
    const taken = before.then(() => {
      if (isGivenUp) resolve()
      return resolve
    })
    return within(clock, durationMs, taken, () => {
      isGivenUp = true
      return late()
    })
  }
}
