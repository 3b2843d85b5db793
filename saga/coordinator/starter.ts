/** Starting a saga: once per (name, id), alone or within the caller's transaction. */
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

/** Which saga is started, and with what. */
export interface StartOptions<In> {
  /** The business id: one saga per name and id, whatever is called how often. 1 to 200 characters. */
  readonly id: string
  /** Checked by the saga's schema and stored as JSON. */
  readonly input: In
}

/** Purges that come between an insert and the look at what kept it out. */
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
   * Reads what every start needs, once. A step that ends in its own transaction may begin a sub-saga, and must not wait for another
   * connection then.
   * @throws `saga.graph_changed`
   */
  async open(sql: SqlClient): Promise<void> {
    await this.#runtime.homeDatabase.id(sql)
    await this.register(sql)
  }

  /** Remembers the graphs of all definitions. @throws `saga.graph_changed` */
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
   * @param tx the caller's transaction, `undefined` for one of its own
   * @param shardMark what the saga is marked with on a shard
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
   * Starts a transaction that is just code: the code begins when that is durable.
   * @returns true when it is new, and the code is run
   * @throws as `start`
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

  /** Again when a purge deleted the saga of this id after it had kept the new one from being inserted. */
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

  /** The transaction committed, but went back to a savepoint: the row says whether that was after this start or before it. */
  async #goOnIfStored(plan: Plan): Promise<void> {
    const { sql, store } = this.#runtime
    const { row } = plan.next
    const known = await store.load(sql, row).catch(() => undefined)
    // Where the database does not answer, the lease in the row ends, and a coordinator takes the saga over.
    if (known?.birth === row.birth && known.owner === row.owner && known.epoch === row.epoch)
      this.#applier.committed(plan)
    else for (const span of plan.spans ?? []) span.end()
  }

  /** In a transaction whose end we do not see nothing can begin: the saga is due at once, for any instance. */
  async #startUnseen(tx: SqlTransaction, fresh: LoadedSaga): Promise<boolean> {
    const written = await this.#runtime.store.write(tx, [dueAtOnce(fresh.row)]).catch(throwExplained)
    return written.size === 1
  }

  async #insert(tx: SqlTransaction, plan: Plan): Promise<boolean> {
    return (await writePlans(tx, this.#runtime, [plan])).size === 1
  }

  /** False: no saga has the id any longer. @throws `saga.conflict` when the saga that has it was started with another input */
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

/** @throws `saga.shards_changed` for what the database of a shard refuses, else the error itself */
function throwExplained(error: unknown): never {
  throw explainRefusal(error)
}
