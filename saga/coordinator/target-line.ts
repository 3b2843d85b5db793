/**
 * The open calls of one direct participant, most of which wait for a slot or for their next request. Slots and limits are for this
 * participant alone: the outage of one takes none from another.
 */
import { type Clock, MINUTE } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { DirectTarget } from '../direct/target.ts'

/** Largest number and bytes of calls to a participant: each further one is repeated when its time is up. */
const MAX_CALLS = 10_000
const MAX_BYTES = 64 * 1_024 * 1_024
/** Shortest time between two log lines about refused calls. */
const TELL_MS = 1 * MINUTE
const FULL = 'too many calls of a participant are open: further ones are repeated when their time is up'

export class TargetLine {
  /** Warns of the first request without an answer, and again after a request was answered. */
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

  /** Counts a call until `leave`. False: a limit is reached, and it is not counted. */
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

  /** Makes one request, in its turn. @throws the signal's reason, when it aborts before the turn comes */
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
