/**
 * The open calls of one direct participant, most of which wait for a slot or for their next request. Each participant has its own
 * slots and limits, so the outage of one does not affect others.
 */
import { type Clock, MINUTE } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { DirectTarget } from '../direct/target.ts'

/** Maximum number and size of calls to a participant. Calls beyond it are repeated after their timeout. */
const MAX_CALLS = 10_000
const MAX_BYTES = 64 * 1_024 * 1_024
/** Shortest time between two log lines about refused calls. */
const TELL_MS = 1 * MINUTE
const FULL = 'too many calls of a participant are open: further ones are repeated when their time is up'

export class TargetLine {
  /** Logs a warning at the first unanswered request, and again after requests were answered in between. */
  readonly unanswered: RepeatedFailureLog
  readonly #to: string
  readonly #clock: Clock
  readonly #logger: Logger
  #free: number
  readonly #waiting = new Set<() => void>()
  #calls = 0
  #bytes = 0
  #refused = 0
  #tellsAt = Number.NEGATIVE_INFINITY

  constructor({ channel, asking }: DirectTarget, clock: Clock, logger: Logger) {
    this.unanswered = new RepeatedFailureLog(logger, 'participant did not answer')
    this.#to = channel.name
    this.#clock = clock
    this.#logger = logger
    this.#free = asking.concurrency
  }

  /** Counts a call until `leave`. False: a limit is reached, and the call is not counted. */
  enter(bytes: number): boolean {
    if (this.#calls >= MAX_CALLS || (this.#bytes > 0 && this.#bytes + bytes > MAX_BYTES)) {
      this.#tellRefused()
      return false
    }
    this.#calls++
    this.#bytes += bytes
    return true
  }

  leave(bytes: number): void {
    this.#calls--
    this.#bytes -= bytes
  }

  /** Makes one request when a slot is free. @throws the reason of the signal, if it aborts before */
  async request<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#take(signal)
    try {
      return await work()
    } finally {
      this.#give()
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#free > 0) return void this.#free--
    await new Promise<void>((resolve, reject) => {
      const turn = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        this.#waiting.delete(turn)
        reject(toError(signal.reason))
      }
      this.#waiting.add(turn)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  #give(): void {
    const [next] = this.#waiting
    if (next === undefined) return void this.#free++
    this.#waiting.delete(next)
    next()
  }

  #tellRefused(): void {
    this.#refused++
    if (this.#clock.monotonic() < this.#tellsAt) return
    this.#logger.warn({ to: this.#to, calls: this.#calls, bytes: this.#bytes, refused: this.#refused }, FULL)
    this.#tellsAt = this.#clock.monotonic() + TELL_MS
    this.#refused = 0
  }
}
