/** Starting a saga: once per (name, id), alone or within the caller's transaction. */
import type { Clock } from '../../core/clock.ts'
import { invalidOption } from '../../core/errors.ts'
import { readInstant } from '../../core/instant.ts'
import { validate } from '../../core/schema.ts'
import type { SqlClient, SqlExecutor, SqlTransaction } from '../../core/sql.ts'
import type { Saga } from '../definition/saga.ts'
import { requireSagaId } from '../definition/saga-id.ts'
import { signalsOf } from '../definition/ties.ts'
import { SagaError } from '../errors.ts'
import { hashJson, stored } from '../json.ts'
import { initialState, type SagaParent } from '../machine/state.ts'
import { explainRefusal } from '../sharding/shard-table.ts'
import type { Home } from '../store/home.ts'
import type { SagaRow, SagaTrace, SagaWrite } from '../store/rows.ts'
import type { SagaStore } from '../store/store.ts'
import type { Bodies, HeldBody } from './bodies.ts'
import { writePlans } from './committer.ts'
import type { Engine } from './engine.ts'
import type { CommandOutbox, Plan, Snapshot } from './plan.ts'
import type { SagaTelemetry } from './telemetry.ts'

/** Which saga is started, and with what. */
export interface StartOptions<In> {
  /** The business id: one saga per name and id, whatever is called how often. 1 to 200 characters. */
  readonly id: string
  /** Checked by the saga's schema and stored as JSON. */
  readonly input: In
}

interface Beginning extends StartOptions<unknown> {
  /** Mark of the saga on a shard. */
  readonly home: string | undefined
}

export interface StarterHost {
  readonly sql: SqlClient
  readonly store: SagaStore
  readonly home: Home
  readonly engine: Engine
  readonly bodies: Bodies
  readonly outbox: CommandOutbox
  readonly clock: Clock
  readonly maxPayloadBytes: number
  readonly telemetry: SagaTelemetry | undefined
  readonly sagas: readonly Saga<unknown, unknown, object>[]
}

/** Purges that come between an insert and the look at what kept it out. */
const MAX_TRIES = 5

export class Starter {
  readonly #host: StarterHost
  #registered = false

  constructor(host: StarterHost) {
    this.#host = host
  }

  /**
   * Reads what every start needs, once. A step that ends in its own transaction may begin a sub-saga, and must not wait for another
   * connection then.
   * @throws `saga.graph_changed`
   */
  async open(sql: SqlClient): Promise<void> {
    await this.#host.home.id(sql)
    await this.register(sql)
  }

  /** Remembers the graphs of all definitions. @throws `saga.graph_changed` */
  async register(sql: SqlClient | SqlTransaction): Promise<void> {
    if (this.#registered) return
    for (const saga of this.#host.sagas) {
      const known = await this.#host.store.register(sql, saga, saga.graphHash, signalsOf(saga))
      if (known !== saga.graphHash)
        throw new SagaError('saga.graph_changed', { saga: saga.name, version: saga.version })
    }
    if ('inTransaction' in sql) sql.afterCommit?.((isWhole) => (this.#registered ||= isWhole === true))
    else this.#registered = true
  }

  /**
   * @param tx the caller's transaction, `undefined` for one of its own
   * @param home what the saga is marked with on a shard
   * @throws `saga.conflict`, `saga.graph_changed`, `saga.shards_changed`, SchemaError
   */
  async start(
    tx: SqlTransaction | undefined,
    saga: Saga,
    options: StartOptions<unknown>,
    home: string | undefined,
  ): Promise<void> {
    const known = this.#loaded(saga, options)
    if (known.branches !== undefined) {
      throw new TypeError(`start: "${known.name}" is a global transaction: run it with globalTransaction(...)`)
    }
    const { telemetry } = this.#host
    const marked = { ...options, home }
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
    home: string | undefined,
  ): Promise<boolean> {
    const known = this.#loaded(saga, options)
    const { telemetry, bodies } = this.#host
    let isNew = false
    const work = async (trace: SagaTrace | null): Promise<boolean> => {
      const fresh = await this.#prepare(this.#host.sql, known, { ...options, home }, trace)
      await this.register(this.#host.sql)
      bodies.add(fresh.row, body)
      isNew = await this.#begin(undefined, fresh).catch((error: unknown) => {
        bodies.delete(fresh.row)
        throw error
      })
      if (!isNew) bodies.delete(fresh.row)
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
    const fresh = await this.#prepare(tx ?? this.#host.sql, saga, options, trace)
    await this.register(tx ?? this.#host.sql)
    return this.#begin(tx, fresh)
  }

  /** Again when a purge deleted the saga of this id after it had kept the new one from being inserted. */
  async #begin(tx: SqlTransaction | undefined, fresh: Snapshot): Promise<boolean> {
    const { name, id } = fresh.row
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      const inserted = await (tx !== undefined && tx.afterCommit === undefined
        ? this.#startUnseen(tx, fresh)
        : this.#insertSeen(tx, fresh))
      if (inserted || (await this.#isSame(tx ?? this.#host.sql, fresh.row))) return inserted
    }
    throw new SagaError('saga.not_found', { saga: name, id })
  }

  async #insertSeen(tx: SqlTransaction | undefined, fresh: Snapshot): Promise<boolean> {
    const { engine } = this.#host
    const plan = await engine.planStart(fresh)
    const inserted = await (tx === undefined
      ? engine.commit(plan)
      : this.#insert(tx, plan).finally(() => engine.settled(plan))
    ).catch(throwExplained)
    if (inserted)
      tx?.afterCommit?.((isWhole) => (isWhole === true ? engine.committed(plan) : void this.#goOnIfStored(plan)))
    return inserted
  }

  /** The transaction committed, but went back to a savepoint: the row says whether that was after this start or before it. */
  async #goOnIfStored(plan: Plan): Promise<void> {
    const { sql, store, engine } = this.#host
    const { row } = plan.next
    const known = await store.load(sql, row).catch(() => undefined)
    // Where the database does not answer, the lease in the row ends, and a coordinator takes the saga over.
    if (known?.birth === row.birth && known.owner === row.owner && known.epoch === row.epoch) engine.committed(plan)
    else for (const span of plan.spans ?? []) span.end()
  }

  /** In a transaction whose end we do not see nothing can begin: the saga is due at once, for any instance. */
  async #startUnseen(tx: SqlTransaction, fresh: Snapshot): Promise<boolean> {
    const write: SagaWrite = { row: { ...fresh.row, revision: 1 }, wakeMs: 0, heedsDeadline: false, timeline: [] }
    const written = await this.#host.store.write(tx, [write]).catch(throwExplained)
    return written.size === 1
  }

  /** @throws SchemaError, `saga.payload_too_large` */
  async begin(saga: Saga, id: string, input: unknown, parent: SagaParent, trace: SagaTrace | null): Promise<SagaWrite> {
    const { row } = await this.#prepare(this.#host.sql, saga, { id, input, home: undefined }, trace)
    const state = { ...row.state, parent }
    return { row: { ...row, state, revision: 1 }, wakeMs: 0, heedsDeadline: false, timeline: [] }
  }

  async #insert(tx: SqlTransaction, plan: Plan): Promise<boolean> {
    return (await writePlans(tx, this.#host, [plan])).size === 1
  }

  /** False: no saga has the id any longer. @throws `saga.conflict` when the saga that has it was started with another input */
  async #isSame(sql: SqlExecutor, { name, id, inputHash }: SagaRow): Promise<boolean> {
    const existing = await this.#host.store.load(sql, { name, id })
    if (existing !== undefined && existing.inputHash !== inputHash)
      throw new SagaError('saga.conflict', { saga: name, id })
    return existing !== undefined
  }

  #loaded(saga: Saga, options: StartOptions<unknown>): Saga {
    const loaded = this.#host.sagas.find(({ name, version }) => name === saga?.name && version === saga.version)
    if (loaded?.graphHash !== saga?.graphHash || loaded === undefined) {
      throw invalidOption('start', saga?.name, 'a saga that createCoordinator got in `sagas`')
    }
    requireSagaId(`start("${saga.name}").id`, options?.id)
    return loaded
  }

  async #prepare(
    sql: SqlExecutor,
    saga: Saga,
    { id, input: given, home }: Beginning,
    trace: SagaTrace | null,
  ): Promise<Snapshot> {
    const { name, version, graphHash, deadlineMs } = saga
    const input = stored(`input of ${name}/${id}`, given, this.#host.maxPayloadBytes) ?? null
    await validate(`input of ${name}/${id}`, saga.input, input)
    const row: SagaRow = {
      name,
      id,
      version,
      graphHash,
      birth: await this.#host.home.birth(sql),
      state: initialState(saga),
      input,
      inputHash: hashJson(input),
      revision: 0,
      owner: null,
      epoch: 0,
      mail: null,
      deadlineInMs: deadlineMs ?? null,
      sinceWriteMs: 0,
      ageMs: 0,
      trace,
      home,
    }
    const takenAt = readInstant(this.#host.clock)
    const startedAt = takenAt.monotonicMs
    const deadline = deadlineMs === undefined ? {} : { deadlineAt: startedAt + deadlineMs }
    return { saga, row, takenAt, writtenAt: startedAt, startedAt, ...deadline }
  }
}

/** @throws `saga.shards_changed` for what the database of a shard refuses, else the error itself */
function throwExplained(error: unknown): never {
  throw explainRefusal(error)
}
