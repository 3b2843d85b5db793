import { type Backoff, backoffDelayMs, resolveBackoff } from '../core/backoff.ts'
import { SECOND } from '../core/clock.ts'
import type { PartitionContext } from './partition-relay-context.ts'

/** Pauses of a whole partition while the broker or the database is away. */
const OUTAGE: Backoff = resolveBackoff('relay', { initialMs: 100, maxMs: 5 * SECOND })

/** Pauses of one partition while its database is away, and the reason for the present one. */
export class OutagePauses {
  /** Aborts when the relay of the partition ends. */
  readonly stopping: AbortSignal
  readonly #context: PartitionContext
  #outages = 0
  #error: Error | undefined

  constructor(context: PartitionContext, stopping: AbortSignal) {
    this.#context = context
    this.stopping = stopping
  }

  /** Why nothing moves, while nothing does. */
  get error(): Error | undefined {
    return this.#error
  }

  /** Whether the relay has neither been told to stop nor lost its lease. */
  get goesOn(): boolean {
    return !this.stopping.aborted && !this.#context.lease.isLost
  }

  /** The database has answered. */
  over(): void {
    this.#outages = 0
    this.#error = undefined
  }

  /** @param message when it is not the database that is away */
  async pause(error: Error, message?: string): Promise<void> {
    this.#outages++
    this.#error = error
    const { lease, options, trouble } = this.#context
    const { logger, clock } = options
    const fields = { partition: lease.partition, attempt: this.#outages }
    if (message === undefined) trouble.failed(error, fields)
    else logger[this.#outages === 1 ? 'warn' : 'debug']({ ...fields, err: error }, message)
    const delayMs = backoffDelayMs(OUTAGE, this.#outages, Math.random())
    await clock.sleep(delayMs, this.stopping).catch(() => undefined)
  }
}
