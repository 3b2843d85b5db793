import type { Clock } from '../../core/clock.ts'

/** Added to the expected time, so that a request that takes a little longer than usual still arrives before it. */
const SLACK_US = 1_000
/** How fast the estimate decreases. */
const DECAY = 0.005

/**
 * The token that all servers would issue, estimated before they are asked: if all accept it, none has to be informed of a higher
 * one, which saves a third of the messages. It is their time at the arrival of the question, as far as earlier replies tell, a
 * little late rather than early. A bad estimate only costs that saving; `VOTE` ignores one that is far ahead of its server's
 * time, so that tokens never run away from it.
 */
export class TokenProposal {
  readonly #clock: Clock
  /** How far the servers' time at arrival is ahead of our monotonic time at sending, in us. */
  #leadUs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Our time in us, to be read before sending. */
  now(): number {
    return this.#clock.monotonic() * 1_000
  }

  /** For a question sent at `sentUs`; 0: unknown yet. */
  next(sentUs: number): number {
    return this.#leadUs === undefined ? 0 : Math.ceil(sentUs + this.#leadUs + SLACK_US)
  }

  /** @param serverUs the server's time when it replied to the question */
  learn(sentUs: number, serverUs: number): void {
    const leadUs = serverUs - sentUs
    const known = this.#leadUs ?? leadUs
    this.#leadUs = Math.max(leadUs, known + (leadUs - known) * DECAY)
  }
}
