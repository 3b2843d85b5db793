/** The moving parts of a coordinator put together: what comes in (starts, replies, due times) and what it sets off. */
import { SECOND } from '../../core/clock.ts'
import { requireSequences } from '../../core/sequences.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import { withActiveSpan } from '../../core/telemetry.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { Saga } from '../definition/saga.ts'
import { directTargets } from '../definition/ties.ts'
import { SagaError } from '../errors.ts'
import { stored } from '../json.ts'
import type { OperatorAction } from '../machine/event.ts'
import { OPERATIONS, operationIn } from '../machine/operation.ts'
import { actedOn, type SagaState } from '../machine/state.ts'
import { Home } from '../store/home.ts'
import type { ReportedSaga, SagaKey } from '../store/rows.ts'
import type { SagaStore } from '../store/store.ts'
import { Bodies } from './bodies.ts'
import { DatabaseCalls } from './database-calls.ts'
import { requireFit } from './direct-calls.ts'
import { DueSagas } from './due.ts'
import { Engine, takesOwnership } from './engine.ts'
import { GlobalTransactions } from './global-transactions.ts'
import { Census, detailOf, type SagaHealth, StepCalls } from './health.ts'
import { requireReadableInputs } from './input.ts'
import { Leases } from './leases.ts'
import { Notices } from './notices.ts'
import { type OperatorNote, pinned, whyRefused } from './operators.ts'
import type { ResolvedOptions } from './options.ts'
import { requireStepResult } from './outcome.ts'
import type { Plan } from './plan.ts'
import { Replies } from './replies.ts'
import { Retention } from './retention.ts'
import type { RunHost } from './run.ts'
import { Runner } from './runner.ts'
import { settles } from './settling.ts'
import { type HandOn, Signals } from './signals.ts'
import { Starter, type StartOptions } from './starter.ts'
import { Sweeper } from './sweeper.ts'
import { SagaTelemetry } from './telemetry.ts'
import { Together } from './together.ts'
import { Watch } from './watch.ts'

/** Sagas whose commands are sent again at once. */
const RESEND_LIMIT = 64
/** Time limit of closing beside the drain. */
const CLOSE_MS = 5 * SECOND
/** When to look for a saga that the caller's transaction starts: it has to commit first. */
const COMMIT_MS = 20

export class Driver implements RunHost {
  readonly watch: Watch
  readonly replies: Replies
  readonly signals: Signals
  readonly transactions: GlobalTransactions
  readonly retention: Retention
  readonly #options: ResolvedOptions
  readonly #database: DatabaseCalls
  readonly #stepCalls: StepCalls
  readonly #definitions: ReadonlyMap<string, Saga>
  readonly #engine: Engine
  readonly #leases: Leases
  readonly #runner: Runner
  readonly #sweeper: Sweeper
  readonly #due: DueSagas
  readonly #starter: Starter
  readonly #census: Census
  readonly #notices: Notices
  readonly #reports: Together<SagaKey, ReportedSaga | undefined>
  readonly #telemetry: SagaTelemetry | undefined
  #unobserve: (() => void) | undefined

  /** @param handOn as of `SignalsHost` */
  constructor(options: ResolvedOptions, handOn?: HandOn) {
    const database = new DatabaseCalls(options.sql, options.schema, options.clock, () => this.#engine.forget())
    const { sql, store, left } = database
    const { exclusive } = sql
    const instance = exclusive === undefined ? options.instance : `${ownerPrefix(exclusive)}${options.instance}`
    const telemetry = options.telemetry && new SagaTelemetry(options.telemetry, options.clock, options.shard)
    const bodies = new Bodies()
    const stepCalls = new StepCalls(options.clock)
    const home = new Home(options.schema)
    const shared = { ...options, sql, store, left, home, instance, telemetry, bodies, stepCalls }
    this.#stepCalls = stepCalls
    this.#database = database
    this.#telemetry = telemetry
    this.#options = options
    this.#definitions = new Map(options.sagas.map((saga) => [versionKey(saga), saga]))
    this.#engine = new Engine({
      ...shared,
      definition: (row) => this.definition(row),
      mayRun: (owned) => this.#mayRun(owned),
      mayAsk: () => this.#sweeper.running && !this.#runner.closing,
      keep: () => this.#runner.keep(1),
      letGo: () => this.#runner.letGo(1),
      begin: (...child) => this.#starter.begin(...child),
      committed: (plan) => this.#committed(plan),
    })
    this.watch = new Watch(shared)
    this.#reports = new Together(sql, (keys) => store.reports(sql, keys))
    this.#leases = new Leases(shared)
    this.#runner = new Runner({
      ...shared,
      engine: this.#engine,
      leases: this.#leases,
      stepLogger: withActiveSpan(options.logger, options.telemetry),
      onRoom: () => this.#onRoom(),
    })
    this.#due = new DueSagas({
      ...shared,
      engine: this.#engine,
      runner: this.#runner,
      stuck: (row) => this.#notices.ended(row),
      onRoom: () => this.#onRoom(),
    })
    this.#sweeper = new Sweeper({ ...shared, sweep: () => this.#sweep(), nextDueMs: () => this.#due.nextDueMs() })
    this.#starter = new Starter({ ...shared, engine: this.#engine })
    this.transactions = new GlobalTransactions({ ...shared, engine: this.#engine, starter: this.#starter, runs: this })
    this.retention = new Retention(shared)
    this.replies = new Replies({ ...shared, engine: this.#engine })
    this.signals = new Signals({ ...shared, engine: this.#engine, handOn })
    this.#notices = new Notices(shared)
    this.#census = new Census({ ...shared, loaded: (row) => this.definition(row) !== undefined })
  }

  get sql(): SqlClient {
    return this.#database.sql
  }

  get store(): SagaStore {
    return this.#database.store
  }

  definition(row: { readonly name: string; readonly version: number }): Saga | undefined {
    return this.#definitions.get(versionKey(row))
  }

  /** @param requireOpen called before anything begins that only `close` ends */
  async run(resend: boolean, requireOpen: () => void): Promise<void> {
    const { sql, store } = this
    await requireSequences(sql, this.#options.schema, ['saga_event'])
    await requireReadableInputs(sql, { store, ...this.#options })
    await requireFit(directTargets(this.#options.sagas), this.#options.clock, this.#options.logger)
    await this.#starter.open(sql)
    if (sql.exclusive !== undefined) await store.expireOthers(sql, ownerPrefix(sql.exclusive))
    requireOpen()
    this.#unobserve ??= this.#telemetry?.observe(
      () => this.#census.rows,
      () => this.#leases.size,
      () => this.#stepCalls.slow(),
    )
    this.#sweeper.start()
    this.retention.start()
    this.replies.expect()
    if (resend) await this.#resend()
  }

  /** Asks again for every reply that is waited for. */
  async #resend(): Promise<void> {
    let after: SagaKey = { name: '', id: '' }
    for (;;) {
      const keys = await this.store.unowned(this.sql, this.#options.sagas, after, RESEND_LIMIT)
      await Promise.all(keys.map((key) => settles(this.#options, key, this.#engine.apply(key, { type: 'resumed' }))))
      const last = keys.at(-1)
      if (last === undefined) return
      after = last
    }
  }

  async start(
    tx: SqlTransaction | undefined,
    saga: Saga,
    options: StartOptions<unknown>,
    home: string | undefined,
  ): Promise<void> {
    await this.#starter.start(tx, saga, options, home)
    if (tx !== undefined) this.#sweeper.nudge(COMMIT_MS)
  }

  /** @throws `saga.not_found`, `saga.action_refused` */
  async operate({ name, id }: SagaKey, asked: OperatorAction, { by, reason }: OperatorNote): Promise<void> {
    const seen = asked.do === 'cancel' ? undefined : await this.#engine.load(this.sql, { name, id })
    const action = seen === undefined ? asked : pinned(asked, seen.row.state)
    for (;;) {
      const applied = await this.#engine.apply({ name, id }, { type: 'operator', action, by, reason })
      // Not when another event came first, such as the end of the saga's time: then the timeline does not say who and why.
      if (applied?.heard === true) return
      if (applied !== undefined) {
        throw new SagaError('saga.action_refused', {
          saga: name,
          id,
          action: action.do,
          why: whyRefused(applied.snapshot.row.state, action),
        })
      }
      const row = await this.#engine.unfound({ name, id })
      if (row === undefined) throw new SagaError('saga.not_found', { saga: name, id })
      if (row === 'started') continue
      const why = `it is ${row.state.status} on version ${row.version}, which is not loaded here`
      throw new SagaError('saga.action_refused', { saga: name, id, action: action.do, why })
    }
  }

  /**
   * A skip with what an operator gives as the step's result, as a reply would have brought it, for the step that it was checked for.
   * @throws CodecError, `saga.payload_too_large`, SchemaError, `saga.action_refused`
   */
  async skipAction(key: SagaKey, given: unknown): Promise<OperatorAction> {
    const result = stored(`result of skip(${key.name}/${key.id})`, given, this.#options.maxPayloadBytes)
    if (result === undefined) return { do: 'skip' }
    // Another instance may have moved the saga on, so the copy that this one keeps may show an earlier step.
    const known = await this.#engine.load(this.sql, key)
    if (known === undefined) return { do: 'skip', result }
    requireInvoke(key, known.row.state)
    return { do: 'skip', result, step: await requireStepResult(known.saga, known.row.state, result) }
  }

  read(key: SagaKey): Promise<ReportedSaga | undefined> {
    return this.#reports.get(key)
  }

  health(closed: boolean): SagaHealth {
    const error =
      this.#sweeper.lastError?.message ??
      this.#database.problem ??
      this.#engine.unwritten.problem() ??
      this.replies.problem()
    const slow = this.#stepCalls.slow()
    const leftMessages = this.#census.leftMessages()
    const unreadable = this.#engine.unreadable.problem()
    const detail = error === undefined ? detailOf({ slow, leftMessages, unreadable }) : undefined
    const live = !this.#sweeper.running ? 'idle' : detail === undefined ? 'up' : 'degraded'
    const status = closed ? 'closed' : error === undefined ? live : 'down'
    const census = this.#census
    return {
      status,
      ...(error !== undefined && { error }),
      ...(detail !== undefined && { detail }),
      inHand: this.#leases.size,
      open: census.count(),
      stuck: census.count('stuck'),
      late: this.#notices.late(),
      slow,
      unloaded: census.unloaded(),
      leftMessages,
      unarchived: this.retention.unarchived(),
    }
  }

  /** Bounded, also when the database does not answer: what is left then expires by its lease. */
  async close(): Promise<void> {
    const { clock, drainTimeoutMs } = this.#options
    this.#unobserve?.()
    this.#runner.stop()
    await finishesWithin(clock, drainTimeoutMs + CLOSE_MS, this.#handOver())
    this.watch.close()
    this.#database.close()
  }

  async #handOver(): Promise<void> {
    const swept = this.#sweeper.stop().then(() => Promise.all([this.#due.settled(), this.signals.left.close()]))
    await Promise.all([swept, this.retention.close()])
    const { drainTimeoutMs, clock } = this.#options
    const since = clock.monotonic()
    // Code that runs to its end asks until then.
    await this.#runner.close(drainTimeoutMs)
    await this.replies.direct.close(Math.max(0, drainTimeoutMs - (clock.monotonic() - since)))
    await this.#notices.close()
  }

  /** A full process leaves local calls to others; a closing one begins none. */
  #mayRun(owned: boolean): boolean {
    if (this.#runner.closing) return false
    if (owned) return true
    if (!this.#sweeper.running || this.#runner.room === 0) return false
    this.#runner.keep(1)
    return true
  }

  #onRoom(): void {
    if (this.#due.isBehind) this.#sweeper.nudge(0)
  }

  #committed(plan: Plan): void {
    const { next, write } = plan
    const { row } = next
    this.#measure(plan)
    this.transactions.seen(next)
    if (takesOwnership(plan)) this.#runner.take(next)
    this.replies.direct.make(plan.requests)
    this.#notices.tellLate(plan)
    const { status } = row.state
    if (write.starts !== undefined || write.posts !== undefined) this.#sweeper.nudge(0)
    if (typeof write.wakeMs === 'number' && (row.owner === null || status === 'stuck'))
      this.#sweeper.nudge(write.wakeMs)
    if (write.heedsDeadline && next.deadlineAt !== undefined) {
      this.#sweeper.nudge(next.deadlineAt - this.#options.clock.monotonic())
    }
    if (status === 'running' || status === 'compensating') return
    this.watch.settled(row)
    this.#notices.ended(row)
    if (status === 'stuck') this.#notices.told(row)
  }

  #measure({ before, next, write }: Plan): void {
    if (this.#telemetry === undefined) return
    const ageMs = this.#options.clock.monotonic() - next.startedAt
    this.#telemetry.changed({ before: before.row, after: next.row, timeline: write.timeline }, ageMs)
  }

  async #sweep(): Promise<boolean> {
    if (await this.#census.refresh()) await this.#notices.forgetAnswered()
    this.replies.sayProblem()
    this.signals.left.look()
    return this.#due.take()
  }
}

/** @throws `saga.action_refused` when the saga is stuck on what has no result */
function requireInvoke({ name, id }: SagaKey, { status, steps }: SagaState): void {
  const step = status === 'stuck' ? steps[actedOn(steps)] : undefined
  const operation = step && operationIn(step.status)
  if (operation === undefined || OPERATIONS[operation].hasResult) return
  const where = `it is stuck on ${operation} of step "${step?.step}", and only an invoke has a result`
  throw new SagaError('saga.action_refused', { saga: name, id, action: 'skip with a result', why: where })
}

function versionKey({ name, version }: { readonly name: string; readonly version: number }): string {
  return `${name}@${version}`
}

/** Owners of one life of an embedded database begin so; those of a former life are gone for certain. */
function ownerPrefix(exclusive: string): string {
  return `${exclusive}:`
}
