/**
 * Calls that wait for rows of other sagas, at most half of those that a participant may have in hand. What confirms or cancels
 * these sagas comes to the same participant: with a call that waits in each lane it would stand behind those that wait for it,
 * and each repetition of a call that was given up would make the line longer.
 */
export class WaitingRoom {
  readonly #seats: number
  #taken = 0

  /** @param concurrency of the participant; with 1 no call may wait */
  constructor(concurrency: number) {
    this.#seats = Math.floor(concurrency / 2)
  }

  /** @returns what gives the seat back; `undefined` when none is free: give up at once, and be asked again */
  enter(): Disposable | undefined {
    if (this.#taken >= this.#seats) return undefined
    this.#taken++
    let isTaken = true
    return {
      [Symbol.dispose]: () => {
        if (isTaken) this.#taken--
        isTaken = false
      },
    }
  }
}
