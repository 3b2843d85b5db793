import type { Clock } from '../../core/clock.ts'

/** Added to what is expected, so that a request that takes a little longer than usual still comes before it. */
const SLACK_US = 1_000
/** How fast the estimate follows down. */
const DECAY = 0.005

/**
 * The token that all servers would give, guessed before they are asked: if they all take it, none has to be told of a
 * higher one, which saves a third of the messages. It is their time at the moment in which the question arrives, as far
 * as earlier answers tell, a little late rather than early. A bad guess costs only that; `VOTE` ignores one that is far
 * ahead of its server's time, so that tokens never run away from it.
 */
export class TokenProposal {
  readonly #clock: Clock
  /** How far the servers' time at arrival is ahead of our monotonic one at sending, in us. */
  #leadUs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Our time in us, to be read before sending. */
  now(): number {
    return this.#clock.monotonic() * 1_000
  }

  /** For a question sent at `sentUs`; 0: no idea yet. */
  next(sentUs: number): number {
    return this.#leadUs === undefined ? 0 : Math.ceil(sentUs + this.#leadUs + SLACK_US)
  }

  /** @param serverUs the server's time when it answered the question */
  learn(sentUs: number, serverUs: number): void {
    const leadUs = serverUs - sentUs
    const known = this.#leadUs ?? leadUs
    this.#leadUs = Math.max(leadUs, known + (leadUs - known) * DECAY)
  }
}
