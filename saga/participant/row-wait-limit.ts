/**
 * Limits the calls that wait for rows of other sagas to half of a participant's concurrency. The commands that confirm or cancel
 * those sagas arrive at the same participant: if every lane had a waiting call, they would queue behind the calls that wait for
 * them, and each repetition of an abandoned call would lengthen the queue.
 *
 * A waiting call holds a connection. So participants with the same database share one limit, too, that of the largest of them.
 * Otherwise each would leave half of its own lanes free, and together they could leave no connection.
 */
export class RowWaitLimit {
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

  /**
   * @returns a handle that frees the place; `undefined` when there is none: give up at once, for the coordinator to repeat the
   * command
   */
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
