/**
 * The transactions of transactional steps: a limited number at once, where calls of one step that are ready together share one.
 * Each call is between two savepoints, and one statement at the end advances all their sagas. A failed call is rolled back while
 * the others commit; if a saga does not fit its plan, all calls are repeated, each in its own transaction.
 */

import { andCommit } from '../../core/commit-with-last-statement.ts'
import { hasCode } from '../../core/errors.ts'
import { handlersClient } from '../../core/idle-limited-transaction.ts'
import { SharedTransactions, type SharingClient } from '../../core/sharing/shared-transactions.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import { stepKey } from '../definition/saga-id.ts'
import { SagaError } from '../errors.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { Call } from '../machine/state.ts'
import { writePlans } from './committer.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { Slots } from './slots.ts'
import type { Plan } from './write-plan.ts'
import type { WritePlanner } from './write-planner.ts'

/** Makes the call. @returns its outcome; `undefined` if it is no longer needed */
export type StepWork = (tx: SqlTransaction) => Promise<SagaEvent | undefined>

/**
 * `notBegun`: no transaction could begin, so the step was not called. `plan`: the written plan; `undefined` when the step was not
 * called.
 */
export type StepDone = { readonly plan: Plan | undefined } | { readonly notBegun: unknown }

/** A call that waits for its turn, or is running. */
interface StepCall {
  readonly saga: string
  plan: Plan | undefined
  /** True if it has begun in the present transaction. */
  hasBegun: boolean
}

/** Distinguishes a failure to begin the transaction from a failure of the step. */
const OPENED = Object.freeze({ opened: true })

export class TransactionalStepCalls {
  readonly #runtime: CoordinatorRuntime
  readonly #planner: WritePlanner
  readonly #slots: Slots
  /**
   * Shared transactions by step and operation, because their durations differ. Steps that a saga adds as it runs (items of a
   * list, branches) use those of the step that added them.
   */
  readonly #shared = new Map<string, SharedTransactions<StepCall>>()

  constructor(runtime: CoordinatorRuntime, planner: WritePlanner) {
    this.#runtime = runtime
    this.#planner = planner
    this.#slots = new Slots(runtime.transactions)
  }

  /** Lets all waiting calls through; they return `undefined`. */
  open(): void {
    this.#slots.open()
  }

  /**
   * Calls `work`, possibly more than once: the writes of an earlier call are rolled back, its effects outside of `tx` remain.
   * Resolves after the effect and its outcome were committed.
   * @throws the errors of `work` and of the commit; `saga.ownership_lost`
   */
  async run(snapshot: LoadedSaga, call: Call, work: StepWork): Promise<StepDone> {
    const own: StepCall = { saga: `${snapshot.row.name}/${snapshot.row.id}`, plan: undefined, hasBegun: false }
    try {
      if (this.#runtime.sharesTransactions) await this.#together(own, snapshot, call, work)
      else await this.#alone(own, snapshot, call, work)
    } catch (error) {
      if (!own.hasBegun) return { notBegun: error }
      throw error
    }
    return { plan: own.plan }
  }

  async #together(own: StepCall, snapshot: LoadedSaga, call: Call, work: StepWork): Promise<void> {
    await this.#sharedBy(snapshot, call).run(
      own,
      (timed) => this.#alone(own, snapshot, call, (tx) => timed(() => work(tx))),
      async (tx) => {
        own.hasBegun = true
        own.plan = undefined
        const event = await work(tx)
        if (event !== undefined) own.plan = await this.#planner.planOutcome(snapshot, event, snapshot.row.epoch)
      },
    )
  }

  async #alone(own: StepCall, snapshot: LoadedSaga, call: Call, work: StepWork): Promise<void> {
    own.hasBegun = false
    own.plan = await this.#slots.around(() =>
      this.#clientOf(snapshot, call).transaction(async (tx) => {
        own.hasBegun = true
        const event = await work(tx)
        return event && this.#write(tx, snapshot, event).catch((error) => throwExplained(error, snapshot, event))
      }, OPENED),
    )
  }

  /** Writes the outcome as the last statement of the effect's transaction. @throws `saga.ownership_lost`: roll back */
  async #write(tx: SqlTransaction, snapshot: LoadedSaga, event: SagaEvent): Promise<Plan> {
    let known: LoadedSaga | undefined = snapshot
    while (known !== undefined) {
      const plan: Plan = await this.#planner.planOutcome(known, event, snapshot.row.epoch)
      if ((await writePlans(tx, this.#runtime, [plan], andCommit(tx))).size === 1) return plan
      known = await this.#runtime.loader.load(snapshot.row, tx)
    }
    throw new SagaError('saga.ownership_lost', { saga: snapshot.row.name, id: snapshot.row.id })
  }

  #sharedBy(snapshot: LoadedSaga, call: Call): SharedTransactions<StepCall> {
    const { saga, row } = snapshot
    const { index, step, operation } = call
    const name = `${row.name}/${saga.steps[index]?.branch ?? step}/${operation}`
    let shared = this.#shared.get(name)
    if (shared === undefined) {
      shared = new SharedTransactions<StepCall>(this.#inSlots(this.#clientOf(snapshot, call)), this.#runtime.clock, {
        // Items of a list advance one saga one after the other: a second one would not fit its plan.
        nameOf: ({ saga }) => saga,
        close: (tx, done) => this.#writeAll(tx, done),
      })
      this.#shared.set(name, shared)
    }
    return shared
  }

  async #writeAll(tx: SqlTransaction, done: readonly StepCall[]): Promise<void> {
    const plans = done.flatMap(({ plan }) => (plan === undefined ? [] : [plan]))
    if (plans.length === 0) return
    // The commit must not be sent with the commands: first check that all plans fitted.
    const written = await writePlans(tx, this.#runtime, plans)
    if (written.size < plans.length) throw new SagaMovedOn()
  }

  /** Returns the client, limited to as many transactions at once as steps may have. */
  #inSlots(sql: SqlClient): SharingClient {
    return {
      connections: sql.isInTransaction === undefined ? this.#runtime.transactions : 1,
      isInTransaction: sql.isInTransaction,
      exclusive: sql.exclusive,
      transaction: (work) => this.#slots.around(() => sql.transaction(work)),
    }
  }

  /**
   * Returns a client whose server ends a transaction that its process abandons, because the next owner's call waits for its rows.
   */
  #clientOf({ saga }: LoadedSaga, { index }: Call): SqlClient {
    return handlersClient(this.#runtime.sql, saga.steps[index]?.timeoutMs)
  }
}

/** insufficient_privilege */
const NO_RIGHT = '42501'

/**
 * Explains a lack of rights, which are those of the role that the step left. @throws `saga.step_role`; otherwise the error itself
 */
function throwExplained(error: unknown, { row }: LoadedSaga, event: SagaEvent): never {
  if (!hasCode(error, NO_RIGHT)) throw error
  throw new SagaError(
    'saga.step_role',
    { key: stepKey(row.name, row.id, 'step' in event ? (event.step ?? '') : '') },
    error,
  )
}

/** Internal: all calls that shared the transaction run again, each alone. */
class SagaMovedOn extends Error {}
