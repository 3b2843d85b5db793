import type { EncodedMessage } from '../binder/channel/message.ts'
import { SECOND } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import type { OutagePauses } from './outage-pauses.ts'
import type { UnreadableRow } from './partition-queries.ts'
import type { PartitionContext } from './partition-relay-context.ts'
import { holdOf, judge, unreadableHold, type WindowResult } from './publish-window.ts'

/** A refused row is tried again within this time after its pause, unless an operator has dropped it. */
const REFUSED_MS = 5 * SECOND

/** A destination that the broker refuses at the moment. */
interface Refusal {
  readonly destination: string
  readonly error: Error
  readonly until: number
}

/** Records the outcome for the rows of one partition: deletes confirmed rows and holds back failed ones. */
export class RowSettlement {
  readonly #context: PartitionContext
  readonly #pauses: OutagePauses
  #refusal: Refusal | undefined

  constructor(context: PartitionContext, pauses: OutagePauses) {
    this.#context = context
    this.#pauses = pauses
  }

  /** Why the broker refuses a destination at the moment. */
  get refused(): Error | undefined {
    const refusal = this.#refusal
    return refusal !== undefined && refusal.until > this.#context.options.clock.monotonic() ? refusal.error : undefined
  }

  /** Confirmed rows must be deleted before anything else is fetched, or they would be sent twice: repeated until it succeeds. */
  async settle(result: WindowResult, outages: ReadonlyMap<string, Error>): Promise<void> {
    const { confirmed } = result
    const refused = this.#refusal?.destination
    if (refused !== undefined && confirmed.some(({ message }) => message.destination === refused)) {
      this.#refusal = undefined
    }
    if (confirmed.length > 0) await this.#insist(() => this.#context.table.confirm(confirmed))
    // Failures of an unavailable destination are not recorded: they say nothing about the message.
    const failed = result.failed.filter(({ row }) => !outages.has(row.message.destination))
    if (failed.length === 0) return
    const { backoff, maxAttempts, clock } = this.#context.options
    const holds = failed.map((failure) => holdOf(failure, backoff, maxAttempts, Math.random()))
    for (const [i, { row, error }] of failed.entries()) {
      const delayMs = holds[i]?.delayMs
      this.#logFailure(row.message, error, delayMs)
      if (delayMs === undefined || judge(error) !== 'wait') continue
      this.#refusal = { destination: row.message.destination, error, until: clock.monotonic() + delayMs + REFUSED_MS }
    }
    await this.#insist(() => this.#context.table.hold(holds))
    if (holds.some(({ delayMs }) => delayMs === undefined)) this.#context.onParked()
  }

  /** No later attempt can read these rows: they wait for `outbox.drop`, and hold back only their lanes. */
  async park(unreadable: readonly UnreadableRow[]): Promise<void> {
    for (const { id, destination, error } of unreadable) {
      this.#context.options.logger.error(
        { err: error, id, destination },
        'outbox row cannot be read, parked: repair it or call outbox.drop',
      )
    }
    const holds = unreadable.map(({ seq, id, error }) => unreadableHold(seq, id, error))
    await this.#insist(() => this.#context.table.hold(holds))
    this.#context.onParked()
  }

  /** Repeats a guarded write until the database responds. The result "not yours" means that the lease is lost. */
  async #insist(write: () => Promise<boolean>): Promise<void> {
    for (;;) {
      try {
        if (!(await write())) this.#context.lease.lose()
        return
      } catch (error) {
        if (!this.#pauses.goesOn) return
        await this.#pauses.pause(toError(error), 'outbox relay cannot settle what it published')
      }
    }
  }

  #logFailure(message: EncodedMessage, error: Error, delayMs: number | undefined): void {
    const { logger } = this.#context.options
    const fields = { err: error, id: message.id, destination: message.destination, key: message.key }
    if (delayMs === undefined)
      logger.error(fields, 'outbox message parked: its key waits for outbox.retry or outbox.drop')
    else logger.warn({ ...fields, delayMs }, 'outbox message failed, its key waits')
  }
}
