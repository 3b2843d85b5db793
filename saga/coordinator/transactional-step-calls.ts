/**
 * The transactions of transactional steps: a limited number at once, and calls of one step that are ready together share one. Each call is
 * between two savepoints, and one statement at the end advances all their sagas. A failed call is undone and the others commit; if a saga
 * does not fit its plan, all of them are called again, each in a transaction of its own.
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

/** Makes the call. @returns its outcome; `undefined`: it is no longer to be made */
export type StepWork = (tx: SqlTransaction) => Promise<SagaEvent | undefined>

/** `notBegun`: no transaction could be begun, so it was not called. `plan`: what is written, `undefined` when it was not called. */
export type StepDone = { readonly plan: Plan | undefined } | { readonly notBegun: unknown }

/** A call that waits for its turn or has it. */
interface StepCall {
  readonly saga: string
  plan: Plan | undefined
  /** In the present transaction. */
  hasBegun: boolean
}

/** Tells a failure to begin the transaction from one of the step. */
const OPENED = Object.freeze({ opened: true })

export class TransactionalStepCalls {
  readonly #runtime: CoordinatorRuntime
  readonly #planner: WritePlanner
  readonly #slots: Slots
  /**
   * One for each step and operation, since their durations differ. Steps that a saga adds as it runs (items of a list, branches) use
   * that of the step that added them.
   */
  readonly #shared = new Map<string, SharedTransactions<StepCall>>()

  constructor(runtime: CoordinatorRuntime, planner: WritePlanner) {
    this.#runtime = runtime
    this.#planner = planner
    this.#slots = new Slots(runtime.transactions)
  }

  /** Lets all waiters through: their work returns `undefined`. */
  open(): void {
    this.#slots.open()
  }

  /**
   * Calls `work`, maybe more than once: an earlier call is undone then, what it did outside of `tx` stands. Resolves after the
   * commit of its effect and of what came of it.
   * @throws what `work` and the commit throw; `saga.ownership_lost`
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

  /** Writes as the last thing in the transaction of the effect. @throws `saga.ownership_lost`: roll back */
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
        // Items of a list advance one saga one after the other: the second would not fit what was planned for it.
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
    // The commit may not go out with the commands of those that fitted: first it has to be seen that all did.
    const written = await writePlans(tx, this.#runtime, plans)
    if (written.size < plans.length) throw new SagaMovedOn()
  }

  /** The client, with no more transactions at once than steps may have. */
  #inSlots(sql: SqlClient): SharingClient {
    return {
      connections: sql.isInTransaction === undefined ? this.#runtime.transactions : 1,
      isInTransaction: sql.isInTransaction,
      transaction: (work) => this.#slots.around(() => sql.transaction(work)),
    }
  }

  /** The server ends a transaction whose process does not go on with it: the next owner's call waits for its rows. */
  #clientOf({ saga }: LoadedSaga, { index }: Call): SqlClient {
    return handlersClient(this.#runtime.sql, saga.steps[index]?.timeoutMs)
  }
}

/** insufficient_privilege */
const NO_RIGHT = '42501'

/** The rights are those of the role that the step left. @throws `saga.step_role`; the error itself */
function throwExplained(error: unknown, { row }: LoadedSaga, event: SagaEvent): never {
  if (!hasCode(error, NO_RIGHT)) throw error
  throw new SagaError(
    'saga.step_role',
    { key: stepKey(row.name, row.id, 'step' in event ? (event.step ?? '') : '') },
    error,
  )
}

/** Never visible outside: all calls that shared the transaction run again, each alone. */
class SagaMovedOn extends Error {}
