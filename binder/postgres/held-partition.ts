import { lastingContext } from '../../core/async-contexts.ts'
import type { Clock } from '../../core/clock.ts'
import type { Lending, Loan, LoanSource } from '../transport/kit/lending.ts'
import type { ClaimedPartition, Fetched } from './claimed-partition.ts'
import { GroupSource, type Source } from './partition-sources.ts'

/** Number of settled messages that are written at once, without waiting for `commitIntervalMs`. */
const FLUSH_AT = 100

export interface HeldPartitionFields {
  readonly source: Source
  readonly place: ClaimedPartition
  readonly lending: Lending<Fetched>
  readonly clock: Clock
  /** How long settled messages may wait to be written; `undefined`: they are not written. */
  readonly commitIntervalMs: number | undefined
  /** Settled messages have waited long enough. */
  readonly onFlushDue: (held: HeldPartition) => void
  /** A handler's transaction found it taken by another member, or ended without an answer. */
  readonly onLost: (held: HeldPartition, reason: Error) => void
}

let count = 0

/** A partition that a subscription holds, with its progress. */
export class HeldPartition implements LoanSource<Fetched> {
  readonly source: Source
  readonly place: ClaimedPartition
  readonly loan: Loan<Fetched>
  /** Order among all partitions of this process. */
  readonly order: number = count++
  /** The running statement. */
  reading: Promise<void> | undefined
  isBusy = false
  /** True if a fetch may return messages: it was woken, or the last fetch was full. */
  mayHaveMore = true
  wakes = 0
  flushDue = false
  leaving: Promise<void> | undefined
  readonly #fields: HeldPartitionFields
  #cancelFlush: (() => void) | undefined

  constructor(fields: HeldPartitionFields) {
    this.source = fields.source
    this.place = fields.place
    this.#fields = fields
    this.loan = fields.lending.add(this)
  }

  take(): Fetched | undefined {
    return this.leaving === undefined ? this.place.take() : undefined
  }

  positionOf({ position }: Fetched): string {
    return `partition ${this.source.index} offset ${position}`
  }

  settle({ position }: Fetched): void {
    this.place.settle(position)
    if (this.place.unwritten > 0) this.#flushLater()
  }

  /** Set if handlers' transactions also write the position. */
  get shared(): GroupSource | undefined {
    return this.source instanceof GroupSource && this.source.isShared ? this.source : undefined
  }

  /** Records that a transaction which settles these has committed. */
  settledIn(positions: readonly number[], changes: number): void {
    this.shared?.appended()
    this.place.settledIn(positions, changes)
  }

  /** Records that another member has it, or that a transaction may have settled messages here without an answer. */
  lost(reason: Error): void {
    this.#fields.onLost(this, reason)
  }

  putBack(fetched: Fetched): void {
    this.place.putBack(fetched)
  }

  wake(): void {
    this.wakes++
    this.mayHaveMore = true
  }

  /** Records that settled messages have been written. */
  flushed(): void {
    this.flushDue = false
    this.cancelFlush()
    if (this.place.unwritten > 0) this.#flushLater()
  }

  cancelFlush(): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
  }

  #flushLater(): void {
    const { clock, commitIntervalMs, onFlushDue } = this.#fields
    if (commitIntervalMs === undefined) return
    const flush = (): void => {
      this.#cancelFlush = undefined
      this.flushDue = true
      onFlushDue(this)
    }
    if (this.place.unwritten >= FLUSH_AT) this.flushDue = true
    else this.#cancelFlush ??= lastingContext()(() => clock.setTimer(commitIntervalMs, flush))
  }
}
