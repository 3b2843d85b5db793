/**
 * Calls that wait for rows of other sagas, at most half of those that a participant may have in hand. What confirms or cancels
 * these sagas comes to the same participant: with a call that waits in each lane it would stand behind those that wait for it,
 * and each repetition of a call that was given up would make the line longer.
 *
 * A call that waits has a connection. So participants of one database have one room together, too: as many seats as the largest
 * of them has. Else each of several would leave half of its own lanes free, and all of them no connection.
 */
export class WaitingRoom {
  readonly #own: Seats
  readonly #shared: Seats

  /**
   * @param concurrency of the participant; with 1 no call may wait
   * @param database whose connections wait: the `SqlClient`, or the resource
   */
  constructor(concurrency: number, database: object) {
    this.#own = { most: Math.floor(concurrency / 2), taken: 0 }
    this.#shared = SHARED.get(database) ?? { most: 0, taken: 0 }
    this.#shared.most = Math.max(this.#shared.most, this.#own.most)
    SHARED.set(database, this.#shared)
  }

  /** @returns what gives the seat back; `undefined` when none is free: give up at once, and be asked again */
  enter(): Disposable | undefined {
    const both = [this.#own, this.#shared]
    if (both.some(({ taken, most }) => taken >= most)) return undefined
    for (const seats of both) seats.taken++
    let isTaken = true
    return {
      [Symbol.dispose]: () => {
        if (isTaken) for (const seats of both) seats.taken--
        isTaken = false
      },
    }
  }
}

interface Seats {
  most: number
  taken: number
}

const SHARED = new WeakMap<object, Seats>()
