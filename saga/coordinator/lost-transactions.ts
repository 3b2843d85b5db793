/**
 * Global transactions whose code ended here, and whose outcome could not be written because the database lost them: it failed
 * over to a copy without their start. Their branches may hold reservations that no other process would cancel. So this process
 * inserts the transaction again, under its id and birth, as one whose code failed, and each branch is cancelled. If another
 * coordinator had cancelled and purged it, participants repeat their stored replies.
 */
import { type Backoff, backoffDelayMs } from '../../core/backoff.ts'
import { SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { SagaEvent } from '../machine/event.ts'
import { type GrownStep, localCalls, type StepFailure } from '../machine/state.ts'
import type { EventApplier } from './event-applier.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import type { SagaCapacity } from './saga-capacity.ts'
import { isUnwritable } from './write-fallbacks.ts'

/** Pauses between tries while the database does not answer, such as during a failover. */
const RETRY: Backoff = { initialMs: 100, factor: 2, maxMs: 1 * SECOND, jitter: 0.2 }
const LOST: StepFailure = {
  code: 'saga.transaction_lost',
  message: 'the database lost the transaction while its code ran, as in a failover to a copy that lags',
}
const INSERTED = 'the database lost a global transaction: inserted again, to cancel its branches'
const TAKEN = 'the database lost a global transaction whose id is used anew: release its branches at their participants'
const UNKNOWN =
  'unknown whether the database lost a global transaction: if so, release its branches at their participants'

export class LostTransactions {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #capacity: SagaCapacity

  constructor(runtime: CoordinatorRuntime, applier: EventApplier, capacity: SagaCapacity) {
    this.#runtime = runtime
    this.#applier = applier
    this.#capacity = capacity
  }

  /**
   * Restores a lost transaction. Does nothing for a saga that the database has, or that is not a global transaction with
   * branches. Tries until the database answers or the coordinator closes. Never rejects.
   * @param taken the transaction as its code started
   */
  async restore(taken: LoadedSaga): Promise<void> {
    const { runningTransactions, clock, logger } = this.#runtime
    const branches = runningTransactions.get(taken.row)?.branches() ?? []
    if (branches.length === 0) return
    const { name: saga, id, birth } = taken.row
    const fields = { saga, id, birth, branches: branches.map(({ step }) => step) }
    const trouble = new RepeatedFailureLog(logger, 'global transaction not looked for, trying again')
    for (let tries = 1; ; tries++) {
      try {
        const found = await this.#restored(taken, branches)
        if (found === 'inserted') logger.warn(fields, INSERTED)
        if (found === 'taken') logger.error(fields, TAKEN)
        return
      } catch (error) {
        const err = toError(error)
        if (isUnwritable(error) || this.#capacity.isClosed) return logger.error({ ...fields, err }, UNKNOWN)
        trouble.failed(err, fields)
        await clock.sleep(backoffDelayMs(RETRY, tries, Math.random()))
      }
    }
  }

  /** @returns `there`: the transaction is not lost; `taken`: another transaction has its id */
  async #restored(taken: LoadedSaga, branches: readonly GrownStep[]): Promise<'there' | 'taken' | 'inserted'> {
    const { sql, store } = this.#runtime
    const { row } = taken
    for (;;) {
      const found = await store.load(sql, row)
      if (found !== undefined) return found.birth === row.birth ? 'there' : 'taken'
      const fresh: LoadedSaga = { ...taken, row: { ...row, revision: 0 } }
      const plan = await this.#applier.planner.plan(fresh, failed(taken, branches), undefined)
      if (plan === undefined) return 'there'
      if (await this.#applier.commit(plan)) return 'inserted'
    }
  }
}

/** Returns the event for failed code, with the branches that it called. */
function failed({ row }: LoadedSaga, branches: readonly GrownStep[]): SagaEvent {
  const [call] = localCalls(row.state)
  return { type: 'failed', step: call?.step ?? '', operation: 'invoke', error: LOST, terminal: true, branches }
}
