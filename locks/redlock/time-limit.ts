import type { Clock } from '../../core/clock.ts'
import type { NodeReply } from './node.ts'

/** The time that all servers together have for one question: one timer, however many are asked. */
export class TimeLimit {
  readonly #waiting: Array<(reply: NodeReply) => void> = []
  readonly #cancel: () => void
  #over: NodeReply | undefined

  constructor(clock: Clock, durationMs: number) {
    this.#cancel = clock.setTimer(durationMs, () => {
      // After a stall of the event loop the timer is due before answers that came long ago are read: read them first.
      setImmediate(() => setImmediate(() => this.#expire(`no answer within ${Math.round(durationMs)} ms`)))
    })
  }

  /** `resolve` is given `silent` when the time is over, which means nothing if it was given a reply before. */
  onOver(resolve: (reply: NodeReply) => void): void {
    if (this.#over === undefined) this.#waiting.push(resolve)
    else resolve(this.#over)
  }

  /** When all have answered. */
  end(): void {
    this.#cancel()
  }

  #expire(detail: string): void {
    this.#over = { kind: 'silent', outcome: 'unknown', detail }
    for (const resolve of this.#waiting) resolve(this.#over)
  }
}
