/** Starts a saga once per (name, id), in its own or in the caller's transaction. */
import { invalidOption } from '../../core/errors.ts'
import type { SqlClient, SqlExecutor, SqlTransaction } from '../../core/sql.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { signalsOf } from '../definition/saga-destinations.ts'
import { requireSagaId } from '../definition/saga-id.ts'
import { SagaError } from '../errors.ts'
import { explainRefusal } from '../sharding/shard-table.ts'
import type { SagaRow, SagaTrace } from '../store/store-types.ts'
import { writePlans } from './committer.ts'
import type { EventApplier } from './event-applier.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import { type Beginning, dueAtOnce, newSagaSnapshot } from './new-saga.ts'
import type { HeldBody } from './running-global-transactions.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import type { Plan } from './write-plan.ts'

/** Id and input of the saga to start. */
export interface StartOptions<In> {
  /** The business id: one saga per name and id, however often it is started. 1 to 200 characters. */
  readonly id: string
  /** Input, checked by the saga's schema and stored as JSON. */
  readonly input: In
}

/** Maximum number of purges between an insert and the read of the saga that prevented it. */
const MAX_TRIES = 5

export class Starter {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  #registered = false

  constructor(runtime: CoordinatorRuntime, applier: EventApplier) {
    this.#runtime = runtime
    this.#applier = applier
  }

  /**
   * Reads the data that every start needs, once. A step that ends in its own transaction may begin a sub-saga, and must not wait
   * for a second connection then.
   * @throws `saga.graph_changed`
   */
  async open(sql: SqlClient): Promise<void> {
    await this.#runtime.homeDatabase.id(sql)
    await this.register(sql)
  }

  /** Stores the graphs of all definitions. @throws `saga.graph_changed` */
  async register(sql: SqlClient | SqlTransaction): Promise<void> {
    if (this.#registered) return
    for (const saga of this.#runtime.sagas) {
      const known = await this.#runtime.store.register(sql, saga, saga.graphHash, signalsOf(saga))
      if (known !== saga.graphHash)
        throw new SagaError('saga.graph_changed', { saga: saga.name, version: saga.version })
    }
    if ('inTransaction' in sql) sql.afterCommit?.((isWhole) => (this.#registered ||= isWhole === true))
    else this.#registered = true
  }

  /**
   * Starts a saga.
   * @param tx the caller's transaction; `undefined` for a separate one
   * @param shardMark mark of the saga on a shard
   * @throws `saga.conflict`, `saga.graph_changed`, `saga.shards_changed`, SchemaError
   */
  async start(
    tx: SqlTransaction | undefined,
    saga: Saga,
    options: StartOptions<unknown>,
    shardMark: string | undefined,
  ): Promise<void> {
    const known = this.#loaded(saga, options)
    if (known.branches !== undefined) {
      throw new TypeError(`start: "${known.name}" is a global transaction: run it with globalTransaction(...)`)
    }
    const { telemetry } = this.#runtime
    const marked = { ...options, shardMark }
    if (telemetry === undefined) await this.#start(tx, known, marked, null)
    else await telemetry.start(known, options.id, (trace) => this.#start(tx, known, marked, trace))
  }

  /**
   * Starts a transaction that is plain code. The code begins when the start is durable.
   * @returns true when the transaction is new, and its code will run
   * @throws the errors of `start`
   */
  async startCode(
    saga: Saga,
    options: StartOptions<unknown>,
    body: HeldBody,
    shardMark: string | undefined,
  ): Promise<boolean> {
    const known = this.#loaded(saga, options)
    const { sql, telemetry, runningTransactions } = this.#runtime
    let isNew = false
    const work = async (trace: SagaTrace | null): Promise<boolean> => {
      const fresh = await newSagaSnapshot(this.#runtime, sql, known, { ...options, shardMark }, trace)
      await this.register(sql)
      runningTransactions.add(fresh.row, body)
      isNew = await this.#begin(undefined, fresh).catch((error: unknown) => {
        runningTransactions.delete(fresh.row)
        throw error
      })
      if (!isNew) runningTransactions.delete(fresh.row)
      return isNew
    }
    if (telemetry === undefined) await work(null)
    else await telemetry.start(known, options.id, work)
    return isNew
  }

  /** @returns true when the saga is new */
  async #start(
    tx: SqlTransaction | undefined,
    saga: Saga,
    options: Beginning,
    trace: SagaTrace | null,
  ): Promise<boolean> {
    const sql = tx ?? this.#runtime.sql
    const fresh = await newSagaSnapshot(this.#runtime, sql, saga, options, trace)
    await this.register(sql)
    return this.#begin(tx, fresh)
  }

  /** Inserts the saga, again if a purge has deleted the saga whose id prevented the insert. */
  async #begin(tx: SqlTransaction | undefined, fresh: LoadedSaga): Promise<boolean> {
    const { name, id } = fresh.row
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      const inserted = await (tx !== undefined && tx.afterCommit === undefined
        ? this.#startUnseen(tx, fresh)
        : this.#insertSeen(tx, fresh))
      if (inserted || (await this.#isSame(tx ?? this.#runtime.sql, fresh.row))) return inserted
    }
    throw new SagaError('saga.not_found', { saga: name, id })
  }

  async #insertSeen(tx: SqlTransaction | undefined, fresh: LoadedSaga): Promise<boolean> {
    const applier = this.#applier
    const plan = await applier.planner.planStart(fresh)
    const inserted = await (tx === undefined
      ? applier.commit(plan)
      : this.#insert(tx, plan).finally(() => applier.planner.releaseRoom(plan))
    ).catch(throwExplained)
    if (inserted)
      tx?.afterCommit?.((isWhole) => (isWhole === true ? applier.committed(plan) : void this.#goOnIfStored(plan)))
    return inserted
  }

  /**
   * Continues if the saga is stored: the transaction committed, but was rolled back to a savepoint, before or after this start.
   */
  async #goOnIfStored(plan: Plan): Promise<void> {
    const { sql, store } = this.#runtime
    const { row } = plan.next
    const known = await store.load(sql, row).catch(() => undefined)
    // If the database does not answer, the lease in the row expires, and a coordinator takes the saga over.
    if (known?.birth === row.birth && known.owner === row.owner && known.epoch === row.epoch)
      this.#applier.committed(plan)
    else for (const span of plan.spans ?? []) span.end()
  }

  /** Starts the saga in a transaction whose end is not visible here: it is due at once, for any instance. */
  async #startUnseen(tx: SqlTransaction, fresh: LoadedSaga): Promise<boolean> {
    const written = await this.#runtime.store.write(tx, [dueAtOnce(fresh.row)]).catch(throwExplained)
    return written.size === 1
  }

  async #insert(tx: SqlTransaction, plan: Plan): Promise<boolean> {
    return (await writePlans(tx, this.#runtime, [plan])).size === 1
  }

  /** Returns false when no saga has the id any longer. @throws `saga.conflict` when the saga with this id has another input */
  async #isSame(sql: SqlExecutor, { name, id, inputHash }: SagaRow): Promise<boolean> {
    const existing = await this.#runtime.store.load(sql, { name, id })
    if (existing !== undefined && existing.inputHash !== inputHash)
      throw new SagaError('saga.conflict', { saga: name, id })
    return existing !== undefined
  }

  #loaded(saga: Saga, options: StartOptions<unknown>): Saga {
    const loaded = this.#runtime.sagas.find(({ name, version }) => name === saga?.name && version === saga.version)
    if (loaded?.graphHash !== saga?.graphHash || loaded === undefined) {
      throw invalidOption('start', saga?.name, 'a saga that createCoordinator got in `sagas`')
    }
    requireSagaId(`start("${saga.name}").id`, options?.id)
    return loaded
  }
}

/** @throws `saga.shards_changed` for a start that the shard's database refuses, else the error itself */
function throwExplained(error: unknown): never {
  throw explainRefusal(error)
}
