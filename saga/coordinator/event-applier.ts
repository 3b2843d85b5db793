/**
 * Applies one event to one saga, durably: read, `advance`, encode the commands, write state, timeline and commands in one
 * transaction guarded by the revision; after a miss, read again. Nothing is called before its intent is written.
 *
 * Any instance may apply any event (a reply, an operator's action); only the owner at the same epoch may apply the outcome of a
 * local call. The instance that writes takes over a local call that follows (`owner`, `epoch + 1`) or, when it is full, leaves it
 * due at once for another. The writer also owns a stuck saga until it has called `onStuck`; if it cannot, the instance that takes
 * the saga over calls it.
 */

import { lastingContext } from '../../core/async-contexts.ts'
import { isOf } from '../../core/define-error-class.ts'
import { toError } from '../../core/errors.ts'
import { refuseOwnTransaction } from '../../core/sql.ts'
import { SqlError } from '../../core/sql-error.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { SagaKey, SagaMail } from '../store/store-types.ts'
import type { Applied, EventSender } from './apply-event-types.ts'
import { Committer } from './committer.ts'
import { FailingSagas } from './failing-sagas.ts'
import { cacheKey, isGoingOn, isOther, isSmall, type LoadedSaga, withoutMail } from './loaded-saga.ts'
import { PerSagaEventBatches } from './per-saga-event-batches.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import type { SagaCapacity } from './saga-capacity.ts'
import { WriteFallbacks } from './write-fallbacks.ts'
import type { Plan } from './write-plan.ts'
import { WritePlanner } from './write-planner.ts'

const MAX_CACHED = 1_000

export class EventApplier {
  readonly planner: WritePlanner
  readonly #runtime: CoordinatorRuntime
  readonly #onCommitted: (plan: Plan) => void
  readonly #committer: Committer
  /** Events that wait for a write of their saga. */
  readonly #eventBatches: PerSagaEventBatches
  /** Sagas that this instance wrote recently, to save a read; the revision reveals outdated ones. */
  readonly #recent = new Map<string, LoadedSaga>()
  /** Sagas whose last write failed. */
  readonly writeFailures: FailingSagas
  /** Sagas that this release cannot read. */
  readonly readFailures: FailingSagas

  /**
   * Context of the coordinator's creation, so that commands are not sent under the locks of a saga's starter or a reply's
   * handler.
   */
  readonly #detached: <T>(work: () => T) => T = lastingContext()

  /** @param onCommitted called after each commit, in the order of one saga's writes */
  constructor(runtime: CoordinatorRuntime, capacity: SagaCapacity, onCommitted: (plan: Plan) => void) {
    const { clock, leaseMs } = runtime
    this.#runtime = runtime
    this.#onCommitted = onCommitted
    this.planner = new WritePlanner(runtime, capacity)
    this.#committer = new Committer(runtime)
    this.writeFailures = new FailingSagas(clock, 3 * leaseMs, 'not written')
    this.readFailures = new FailingSagas(clock, 3 * leaseMs, 'not read')
    this.#eventBatches = new PerSagaEventBatches(runtime, this.planner, {
      commit: (plan) => this.#detached(() => this.commit(plan)),
      failed: (key, error) => this.writeFailures.failed(cacheKey(key), toError(error)),
      alone: (key, event, sender) => this.#apply(key, event, sender, true),
    })
  }

  /** Writes a planned transition. False: the saga has moved on from the revision of the plan. */
  async commit(plan: Plan): Promise<boolean> {
    try {
      const written = await this.#committer.commit(plan)
      if (written) this.committed(plan)
      this.writeFailures.recovered(cacheKey(plan.next.row))
      this.readFailures.recovered(cacheKey(plan.next.row))
      return written
    } finally {
      this.planner.releaseRoom(plan)
    }
  }

  /**
   * Applies an event and commits.
   * @returns `undefined` when the saga does not exist or its version is not loaded
   * @throws `saga.ownership_lost` when `epoch` is given and is outdated
   */
  async apply(key: SagaKey, event: SagaEvent, sender: EventSender = {}): Promise<Applied | undefined> {
    // Mail that was read belongs to the snapshot it was read from.
    return this.#apply(key, event, sender, sender.read !== undefined)
  }

  /** @param leaves does not wait for a write of the saga that is under way */
  async #apply(key: SagaKey, event: SagaEvent, sender: EventSender, leaves: boolean): Promise<Applied | undefined> {
    let alone = leaves
    if (!alone && this.#eventBatches.isOpen(key)) return this.#join(key, event, sender)
    const attempts = new WriteFallbacks(event, sender.parks === true)
    let known = sender.snapshot ?? this.#recent.get(cacheKey(key))
    for (;;) {
      const snapshot = known ?? (await this.#loadWithout(key, sender.read))
      if (snapshot === undefined) return undefined
      if (isOther(snapshot.row, sender.birth)) {
        if (known === undefined) return { snapshot, changed: false, heard: false }
        known = undefined
        this.#recent.delete(cacheKey(key))
        continue
      }
      const plan = await this.planner.plan(snapshot, attempts.event, sender.epoch, attempts.refusals)
      if (plan === undefined && known === undefined) return { snapshot, changed: false, heard: false }
      if (plan !== undefined && !alone && this.#eventBatches.isOpen(key)) {
        this.planner.releaseRoom(plan)
        return this.#join(key, attempts.event, sender)
      }
      const written = plan === undefined ? 'stale' : await this.#writeInLine(plan, attempts, alone)
      if (written === 'again') {
        // Only these attempts know the replacement.
        alone = true
        continue
      }
      if (plan !== undefined && written === 'written') {
        return { snapshot: plan.next, changed: true, heard: plan.heard !== false }
      }
      known = undefined
      this.#recent.delete(cacheKey(key))
    }
  }

  /** Refuses a sender inside its own transaction, which would wait for the write while the write waits for it. */
  async #join(key: SagaKey, event: SagaEvent, sender: EventSender): Promise<Applied | undefined> {
    refuseOwnTransaction(this.#runtime.sql)
    return this.#eventBatches.join(key, event, sender)
  }

  #writeInLine(plan: Plan, attempts: WriteFallbacks, alone: boolean): Promise<'written' | 'stale' | 'again'> {
    const write = () => this.#write(plan, attempts)
    return alone ? write() : this.#eventBatches.open(plan.next.row, write)
  }

  /** @returns `again`: this plan can never be written, but a replacement can. @throws the error of the write */
  async #write(plan: Plan, attempts: WriteFallbacks): Promise<'written' | 'stale' | 'again'> {
    const { logger } = this.#runtime
    const { name, id } = plan.next.row
    try {
      return (await this.commit(plan)) ? 'written' : 'stale'
    } catch (error) {
      if (!attempts.next(error, plan)) {
        if (!isOf(error, SqlError, 'core.sql_own_transaction') && !attempts.isSenders(error))
          this.writeFailures.failed(cacheKey(plan.next.row), toError(error))
        throw error
      }
      const err = toError(error)
      logger.warn(
        { saga: name, id, err },
        'what a saga came to can never be written: the step that it comes from fails',
      )
      return 'again'
    }
  }

  /** Forgets all sagas written here, because a database that failed over may have lost the last of them. */
  forget(): void {
    this.#recent.clear()
  }

  /** Stores the new snapshot and calls `onCommitted`. */
  committed(plan: Plan): void {
    const key = cacheKey(plan.next.row)
    this.#eventBatches.wrote(plan.next)
    this.#recent.delete(key)
    if (isGoingOn(plan.next.row.state.status) && isSmall(plan.next.row)) this.#recent.set(key, plan.next)
    if (this.#recent.size > MAX_CACHED) this.#recent.delete(this.#recent.keys().next().value as string)
    for (const span of plan.spans ?? []) span.end()
    this.#onCommitted(plan)
  }

  /** Returns the saga as last written here, or else as stored in the database; may be outdated. */
  async find(key: SagaKey): Promise<LoadedSaga | undefined> {
    return this.#eventBatches.latest(key) ?? this.#recent.get(cacheKey(key)) ?? this.#runtime.loader.load(key)
  }

  async #loadWithout(key: SagaKey, read: readonly SagaMail[] = []): Promise<LoadedSaga | undefined> {
    const snapshot = await this.#runtime.loader.load(key)
    return snapshot && withoutMail(snapshot, read)
  }
}
