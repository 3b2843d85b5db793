/** The part of a socket that is used. */
interface Corkable {
  cork(): void
  uncork(): void
}

/** Approximate number of writes for the commands in progress. */
const PARTS = 4

/**
 * Sends the commands of one turn of the event loop in few system calls, which are half of the cost of a small command. Not in a
 * single call: while the server works on the first quarter, the others are prepared. A few commands are sent at once, because
 * delaying them would not pay.
 */
export class CoalescedSocketWrites {
  #underWay = 0
  /** Number of delayed commands, 0 if the stream is not corked. */
  #held = 0

  /** Call it right before a command is written to `stream`. */
  begin(stream: Corkable | undefined): void {
    const underWay = this.#underWay++
    if (stream === undefined) return
    if (this.#held === 0) {
      if (underWay >= PARTS) this.#hold(stream)
    } else if (this.#held < underWay / PARTS) {
      this.#held++
    } else {
      stream.uncork()
      stream.cork()
      this.#held = 1
    }
  }

  /** Call it when a command has its reply, or will have none. */
  end(): void {
    this.#underWay--
  }

  #hold(stream: Corkable): void {
    stream.cork()
    this.#held = 1
    process.nextTick(() => {
      this.#held = 0
      stream.uncork()
    })
  }
}
