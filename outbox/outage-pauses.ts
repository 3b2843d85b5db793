import { type Backoff, backoffDelayMs, resolveBackoff } from '../core/backoff.ts'
import { SECOND } from '../core/clock.ts'
import type { PartitionContext } from './partition-relay-context.ts'

/** Pauses of a whole partition while the broker or the database is unavailable. */
const OUTAGE: Backoff = resolveBackoff('relay', { initialMs: 100, maxMs: 5 * SECOND })

/** Pauses of one partition while its database is unavailable, with the reason for the current pause. */
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

  /** The error that stops everything at the moment, if any. */
  get error(): Error | undefined {
    return this.#error
  }

  /** True until the relay stops or loses its lease. */
  get goesOn(): boolean {
    return !this.stopping.aborted && !this.#context.lease.isLost
  }

  /** Called when the database has responded. */
  over(): void {
    this.#outages = 0
    this.#error = undefined
  }

  /** @param message used if something other than the database is unavailable */
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
