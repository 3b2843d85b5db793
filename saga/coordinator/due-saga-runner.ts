/** Runs sagas that are due or have mail: each poll takes some of them, and does their work. */

import { type Instant, readInstant } from '../../core/elapsed-time.ts'
import { toError } from '../../core/errors.ts'
import { SchemaError } from '../../core/schema.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import type { SagaEvent } from '../machine/event.ts'
import { localCalls } from '../machine/state.ts'
import type { ClaimedRow, SagaMail, SagaRow } from '../store/store-types.ts'
import { refusalOf } from '../store/unhandled-mail.ts'
import type { Applied } from './apply-event-types.ts'
import type { EventApplier } from './event-applier.ts'
import { waitAtMostOneLease } from './lease-length-timeout.ts'
import { cacheKey, type LoadedSaga, withoutMail } from './loaded-saga.ts'
import type { LocalChainRunner } from './local-chain-runner.ts'
import { whyRefused } from './operator-checks.ts'
import { describeError, isUnreadable, mailEvent, storable } from './outcome-to-event.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import type { UserNotifications } from './user-notifications.ts'
import { isUnwritable } from './write-fallbacks.ts'

/** Maximum number of rows per poll. */
const LIMIT = 32
/** How long a poll waits for its rows to settle. A slower saga does not delay the next poll. */
const LOOK_MS = 100

export class DueSagaRunner {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #runner: LocalChainRunner
  readonly #notices: UserNotifications
  /** Taken rows that have not settled yet. Capacity is reserved for each. */
  readonly #unsettled = new Set<Promise<void>>()
  #isBehind = false
  /** The server's clock at the last poll; `undefined` before the first one, and after the clock was set back. */
  #serverNowMs: number | undefined
  /** Result of the last poll, if it took nothing. */
  #seen: { readonly nextDueMs: number | undefined } | undefined

  constructor(
    runtime: CoordinatorRuntime,
    applier: EventApplier,
    runner: LocalChainRunner,
    notices: UserNotifications,
  ) {
    this.#runtime = runtime
    this.#applier = applier
    this.#runner = runner
    this.#notices = notices
  }

  /** True when the last poll took nothing because this process has no capacity. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /** Returns in how many ms the next saga is due, as of the last poll; `undefined` when none waits. */
  async nextDueMs(): Promise<number | undefined> {
    const { sql, leaseStore, sagas } = this.#runtime
    return this.#seen === undefined ? leaseStore.nextDueMs(sql, sagas) : this.#seen.nextDueMs
  }

  /** Polls once. True: there may be more. */
  async poll(): Promise<boolean> {
    const { clock } = this.#runtime
    const unsettled = this.#unsettled.size
    // The other half of the capacity is for sagas that start here.
    const limit = Math.min(LIMIT, Math.ceil((this.#runner.capacity.free + unsettled) / 2) - unsettled)
    this.#isBehind = limit <= 0
    this.#seen = undefined
    if (this.#isBehind) return false
    const takenAt = readInstant(clock)
    const rows = await this.#claim(limit)
    const all = Promise.all(rows.map((row) => this.#trackUnsettled(row, this.#handle(row, takenAt))))
    await finishesWithin(clock, LOOK_MS, all)
    return rows.length === limit || this.#serverNowMs === undefined
  }

  /** Resolves when all taken rows have settled, each within a lease. */
  async settled(): Promise<void> {
    await Promise.all(this.#unsettled)
  }

  /** Takes due rows, and reserves capacity for each. */
  async #claim(limit: number): Promise<readonly ClaimedRow[]> {
    const { sql, leaseStore, leaseMs, sagas, instance } = this.#runtime
    const { capacity } = this.#runner
    capacity.keep(limit)
    let taken = 0
    try {
      if (this.#serverNowMs === undefined) await leaseStore.countAnew(sql)
      const { rows, nextDueMs, nowMs } = await leaseStore.claim(sql, instance, leaseMs, sagas, limit)
      // The next poll counts again.
      this.#serverNowMs = nowMs < (this.#serverNowMs ?? 0) ? undefined : nowMs
      // Taken sagas have their own due times.
      if (rows.length === 0 && this.#serverNowMs !== undefined) this.#seen = { nextDueMs }
      taken = rows.length
      return rows
    } finally {
      capacity.letGo(limit - taken)
    }
  }

  #trackUnsettled(row: ClaimedRow, work: Promise<void>): Promise<void> {
    const kept = waitAtMostOneLease(this.#runtime, row, work).finally(() => {
      this.#unsettled.delete(kept)
      this.#runner.capacity.letGo(1)
      this.#runner.capacity.freed()
    })
    this.#unsettled.add(kept)
    return kept
  }

  async #handle(row: ClaimedRow, takenAt: Instant): Promise<void> {
    const { sql, store, loader, logger } = this.#runtime
    try {
      const snapshot = loader.snapshot(row, takenAt)
      if (snapshot === undefined) return
      const applied = await this.#readAndDo(snapshot)
      // The event applier hands the runner only sagas whose ownership begins with the write; this one was owned since its claim, and
      // no write since has renewed the lease.
      if (applied?.changed === true) return this.#runner.take({ ...applied.snapshot, takenAt })
      if (row.state.status === 'stuck' && row.former !== null) this.#notices.ended(row)
      await store.putToRest(sql, applied?.snapshot.row ?? row)
    } catch (error) {
      const fields = { saga: row.name, id: row.id, err: toError(error) }
      if (isUnreadable(error)) this.#applier.readFailures.failed(cacheKey(row), fields.err)
      logger.warn(fields, 'due saga not handled, it comes back after its lease')
    }
  }

  /**
   * Applies the mail, including mail that arrives meanwhile, and deletes each item in the same write. If no mail changed the
   * saga, does the work that is due.
   */
  async #readAndDo(taken: LoadedSaga): Promise<Applied | undefined> {
    const { row, saga } = taken
    let now = taken
    // Mail that a later read of the row still contains.
    let read: readonly SagaMail[] = []
    for (;;) {
      // The former owner began the local calls in the row. They are marked as orphaned before mail is read: otherwise the write for the
      // mail would look as if this process ran them.
      const item = localCalls(now.row.state).length > 0 ? undefined : now.row.mail?.[0]
      const event: SagaEvent | undefined =
        item === undefined ? { type: 'due' } : await this.#eventOf(saga, now.row, item)
      if (item !== undefined) {
        read = [...read, item]
        now = withoutMail(now, [item])
      }
      if (event === undefined) continue
      const applied = await this.#applier.apply(row, event, { snapshot: now, epoch: row.epoch, read, parks: true })
      if (applied === undefined) return undefined
      const { changed, heard, snapshot } = applied
      if (event.type === 'operator' && item !== undefined && !(changed && heard)) {
        await this.#refuse(row, item, whyRefused(snapshot.row.state, event.action))
      }
      now = snapshot
      if (changed) read = []
      const isOver = now.row.owner !== row.owner || now.row.state.status === 'stuck'
      const isTaken = changed && (isOver || localCalls(now.row.state).length > 0)
      if (isTaken || (item === undefined && (changed || now.row.mail === null))) return applied
    }
  }

  /** Records in the timeline why an operator's action was refused. If the database refuses even the ASCII text, logs it. */
  async #refuse(row: SagaRow, mail: SagaMail, message: string): Promise<void> {
    const { sql, store, logger } = this.#runtime
    for (const why of [message, storable({ code: '', message }).message]) {
      const refusal = refusalOf(mail, why)
      if (refusal === undefined) return
      try {
        return await store.appendRefusal(sql, row, refusal)
      } catch (error) {
        // An item of mail that stays in the row blocks all items behind it.
        if (!isUnwritable(error)) throw error
        logger.warn({ saga: row.name, id: row.id, err: toError(error) }, "refusal of an operator's action not written")
      }
    }
  }

  /**
   * Returns `undefined` for a signal, or an operator's result, that does not fit the step's schema, because no sender waits for
   * the error.
   * @throws an exception of the schema: the mail stays
   */
  async #eventOf(saga: Saga, row: SagaRow, mail: SagaMail): Promise<SagaEvent | undefined> {
    const { maxPayloadBytes, logger } = this.#runtime
    const { name, id } = row
    try {
      return await mailEvent(saga, row.state, mail, maxPayloadBytes)
    } catch (error) {
      if (!(error instanceof SchemaError)) {
        this.#applier.readFailures.failed(cacheKey(row), toError(error))
        throw error
      }
      const what =
        'operator' in mail
          ? "operator's action that does not fit its step refused"
          : 'signal that does not fit its step ignored'
      logger.warn({ saga: name, id, err: toError(error) }, what)
      await this.#refuse(row, mail, describeError(error).message)
      return undefined
    }
  }
}
