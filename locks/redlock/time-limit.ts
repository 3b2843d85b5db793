import type { Clock } from '../../core/clock.ts'

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

/** What came of a question to one server. */
export type NodeReply =
  | { readonly kind: 'answer'; readonly answer: unknown }
  /** No answer in time, or not reached. `unknown`: it may have been executed, or may yet be. */
  | { readonly kind: 'silent'; readonly outcome: 'not_done' | 'unknown'; readonly detail: string }
  /** It answered, and will answer the same again. */
  | { readonly kind: 'refused'; readonly detail: string }
