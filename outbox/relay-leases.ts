import type { Clock } from '../core/clock.ts'
import { newId } from '../core/ids.ts'
import { fairShare, type HeldLease, LeaseKeeper } from './lease.ts'
import type { Outbox } from './outbox.ts'
import type { ResolvedRelayOptions } from './relay-options.ts'
import type { RelayWorkers } from './relay-workers.ts'
import { limitedAnswer, limitedStatements } from './statement-time-limit.ts'
import { checkOutbox, type OutboxTables } from './tables.ts'

/** Leases of one relay: renews them, releases those beyond its fair share, and claims free ones. */
export class RelayLeases {
  readonly #outbox: Outbox
  readonly #keeper: LeaseKeeper
  readonly #clock: Clock
  /** A lease is long enough to send its renewal again after one without a response. */
  readonly #answerMs: number
  readonly #staff: RelayWorkers
  /** First the relay checks to which service the outbox belongs; then it cleans up once after dead relays. */
  #state: 'unknown' | 'ours' | 'tidy' = 'unknown'
  #relays = 0

  constructor(options: ResolvedRelayOptions, tables: OutboxTables, staff: RelayWorkers) {
    const { outbox, leaseMs, clock } = options
    this.#outbox = outbox
    this.#clock = clock
    this.#answerMs = leaseMs / 2
    this.#staff = staff
    const instance = `${options.instance}/${newId()}`
    this.#keeper = new LeaseKeeper({
      sql: limitedStatements(outbox.sql, clock, this.#answerMs),
      tables,
      instance,
      leaseMs,
      longestPauseMs: options.backoff.maxMs,
      clock,
    })
  }

  get held(): readonly HeldLease[] {
    return this.#keeper.held
  }

  /** Relays alive at the last check, including this one. */
  get relays(): number {
    return this.#relays
  }

  /** @throws the errors of `checkOutbox` */
  async check(): Promise<void> {
    await limitedAnswer(this.#clock, this.#answerMs, checkOutbox(this.#outbox))
    this.#state = 'ours'
  }

  /** @param mayTake tells whether the relay still claims partitions; called after the renewal */
  async renew(mayTake: () => boolean): Promise<void> {
    // Not before the owner of the outbox is known: a database that was unavailable at the start is asked now.
    if (this.#state === 'unknown') await this.check()
    if (this.#state !== 'tidy') {
      await this.#keeper.tidy()
      this.#state = 'tidy'
    }
    const { live, free } = await this.#keeper.renew()
    this.#relays = live
    if (mayTake()) await this.#balance(free)
  }

  /** Releases the partitions without a worker, and leaves. */
  async handOver(): Promise<void> {
    for (const lease of this.#keeper.held) {
      if (this.#staff.isFree(lease)) await this.#keeper.release(lease)
    }
    await this.#keeper.leave()
  }

  async #balance(free: number): Promise<void> {
    const share = fairShare(this.#outbox.partitions, this.#relays)
    const over = this.#keeper.held.slice(share)
    this.#staff.dismiss(over)
    for (const lease of over) {
      if (this.#staff.isFree(lease)) await this.#keeper.release(lease)
    }
    const missing = share - this.#keeper.held.length
    if (missing > 0 && free > 0) await this.#keeper.claim(missing)
  }
}
