import type { Clock } from '../../../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../../../core/elapsed-time.ts'
import { ClusterError, type EvictedReason } from '../store/cluster-errors.ts'
import type { Presence } from './membership.ts'

/**
 * Valid for `suspectAfterMs` from the moment *before* the last confirmed heartbeat was sent, by the larger advance of both
 * clocks, so it ends here before another process can suspect it.
 */
export class HeldPresence implements Presence {
  readonly instance: string
  readonly generation: number
  readonly joinId: string
  readonly #clock: Clock
  readonly #suspectAfterMs: number
  readonly #over = new AbortController()
  #confirmedAt: Instant

  constructor(fields: {
    readonly instance: string
    readonly generation: number
    readonly joinId: string
    readonly clock: Clock
    readonly suspectAfterMs: number
    readonly sentAt: Instant
  }) {
    this.instance = fields.instance
    this.generation = fields.generation
    this.joinId = fields.joinId
    this.#clock = fields.clock
    this.#suspectAfterMs = fields.suspectAfterMs
    this.#confirmedAt = fields.sentAt
  }

  get signal(): AbortSignal {
    return this.#over.signal
  }

  get isValid(): boolean {
    return !this.#over.signal.aborted && this.remainingMs() > 0
  }

  /** Returns the same generation, confirmed again after doubt. */
  renewed(sentAt: Instant): HeldPresence {
    const { instance, generation, joinId } = this
    return new HeldPresence({
      instance,
      generation,
      joinId,
      clock: this.#clock,
      suspectAfterMs: this.#suspectAfterMs,
      sentAt,
    })
  }

  /** Remaining time until it is isolated, unless a heartbeat is confirmed. */
  remainingMs(): number {
    return this.#suspectAfterMs - elapsedMs(this.#confirmedAt, readInstant(this.#clock))
  }

  assertValid(): void {
    this.#over.signal.throwIfAborted()
    if (this.remainingMs() <= 0) throw this.#isolated()
  }

  confirm(sentAt: Instant): void {
    this.#confirmedAt = sentAt
  }

  isolate(): void {
    this.#over.abort(this.#isolated())
  }

  evict(reason: EvictedReason): void {
    if (!this.#over.signal.aborted)
      this.#over.abort(
        new ClusterError('cluster.member_evicted', { instance: this.instance, generation: this.generation, reason }),
      )
  }

  #isolated(): ClusterError {
    return new ClusterError('cluster.member_isolated', {
      instance: this.instance,
      generation: this.generation,
      afterMs: this.#suspectAfterMs,
    })
  }
}
