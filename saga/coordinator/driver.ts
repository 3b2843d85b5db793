/** The moving parts of a coordinator put together: what comes in (starts, replies, due times) and what it sets off. */
import { sink } from '../../binder/bindings/binding.ts'
import { type SinkBinding } from '../../binder/bindings/declarations.ts'
import { SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import { withActiveSpan } from '../../core/telemetry.ts'
import { finishesWithin, within } from '../../core/time-limit.ts'
import type { Saga } from '../definition/saga.ts'
import { SagaInputUnreadable } from '../errors.ts'
import { stored } from '../json.ts'
import type { SagaEvent } from '../machine/event.ts'
import { localCalls } from '../machine/state.ts'
import { type ReportedSaga, type SagaKey, type SagaMail, type SagaRow } from '../store/rows.ts'
import { SagaStore } from '../store/store.ts'
import { type SagaReply } from '../wire/reply.ts'
import { REPLY_GROUP, sagaReplies } from '../wire/wire.ts'
import { type Applied, Engine, takesOwnership } from './engine.ts'
import { Census, type SagaHealth } from './health.ts'
import { requireReadableInputs } from './input.ts'
import { Leases } from './leases.ts'
import { Notices } from './notices.ts'
import type { ResolvedOptions } from './options.ts'
import { mailEvent, replyEvent, requireStepResult } from './outcome.ts'
import { type Plan, type Snapshot } from './plan.ts'
import { Retention } from './retention.ts'
import type { RunHost } from './run.ts'
import { Runner } from './runner.ts'
import { Signals } from './signals.ts'
import { Starter, type StartOptions } from './starter.ts'
import { Sweeper } from './sweeper.ts'
import { SagaTelemetry } from './telemetry.ts'
import { Together } from './together.ts'
import { Watch } from './watch.ts'

/** A binder starts at about the time of `run`. */
const BOUND_WITHIN_MS = 10 * SECOND
const DEAF =
  "no binder reads the replies: give createBinder the coordinator's bindings, bindings: [...coordinator.bindings]"
/** Rows taken by one look. */
const SWEEP_LIMIT = 32
/** Sagas whose commands are sent again at once. */
const RESEND_LIMIT = 64
/** A reply is tried for about a minute of database outage; after that the command is asked again anyway. */
const REPLY_ATTEMPTS = 10
/** What closing may take beside the drain. */
const CLOSE_MS = 5 * SECOND
/** When to look for a saga that the caller's transaction starts: it has to commit first. */
const COMMIT_MS = 20

export class Driver implements RunHost {
  readonly sql: SqlClient
  readonly store: SagaStore
  readonly watch: Watch
  readonly signals: Signals
  readonly retention: Retention
  readonly #options: ResolvedOptions
  /** This process in the `owner` column. */
  readonly #owner: string
  readonly #definitions: ReadonlyMap<string, Saga>
  readonly #engine: Engine
  readonly #leases: Leases
  readonly #runner: Runner
  readonly #sweeper: Sweeper
  readonly #starter: Starter
  readonly #census: Census
  readonly #notices: Notices
  readonly #reports: Together<SagaKey, ReportedSaga | undefined>
  readonly #telemetry: SagaTelemetry | undefined
  #unobserve: (() => void) | undefined
  /** A binder has begun to read the replies. */
  #isBound = false
  #saidDeaf = false
  /** Monotonic ms of `run`. */
  #ranAt = Number.POSITIVE_INFINITY
  /** True when work was left in the database for want of room here. */
  #behind = false

  constructor(options: ResolvedOptions) {
    const store = new SagaStore(options.schema)
    const { exclusive } = options.sql
    const instance = exclusive === undefined ? options.instance : `${ownerPrefix(exclusive)}${options.instance}`
    const telemetry = options.telemetry && new SagaTelemetry(options.telemetry, options.clock)
    const shared = { ...options, store, instance, telemetry }
    this.#telemetry = telemetry
    this.#owner = instance
    this.#options = options
    this.sql = options.sql
    this.store = store
    this.#definitions = new Map(options.sagas.map((saga) => [versionKey(saga), saga]))
    this.#engine = new Engine({
      ...shared,
      definition: (row) => this.definition(row),
      mayRun: (owned) => this.#mayRun(owned),
      letGo: () => this.#runner.letGo(1),
      begin: (...child) => this.#starter.begin(...child),
      committed: (plan) => this.#committed(plan),
      unsure: (plan) => void this.#notices.askIfStuck(plan, () => this.#committed(plan)),
    })
    this.watch = new Watch(shared)
    this.#reports = new Together((keys) => store.reports(this.sql, keys))
    this.#leases = new Leases(shared)
    this.#runner = new Runner({
      ...shared,
      engine: this.#engine,
      leases: this.#leases,
      stepLogger: withActiveSpan(options.logger, options.telemetry),
      onRoom: () => this.#onRoom(),
    })
    this.#sweeper = new Sweeper({ ...shared, sweep: () => this.#sweep(), nextDueMs: () => store.nextDueMs(this.sql) })
    this.#starter = new Starter({ ...shared, engine: this.#engine })
    this.retention = new Retention(shared)
    this.signals = new Signals({ ...shared, engine: this.#engine })
    this.#notices = new Notices({ ...shared, closing: () => this.#runner.closing })
    this.#census = new Census({ ...shared, loaded: (row) => this.definition(row) !== undefined })
  }

  definition(row: { readonly name: string; readonly version: number }): Saga | undefined {
    return this.#definitions.get(versionKey(row))
  }

  async run(resend: boolean): Promise<void> {
    const { sql, store } = this
    await requireReadableInputs(sql, { store, sagas: this.#options.sagas })
    await this.#starter.register(sql)
    if (sql.exclusive !== undefined) await store.expireOthers(sql, ownerPrefix(sql.exclusive))
    this.#unobserve ??= this.#telemetry?.observe(
      () => this.#census.rows,
      () => this.#leases.size,
    )
    this.#sweeper.start()
    this.retention.start()
    this.#ranAt = Math.min(this.#ranAt, this.#options.clock.monotonic())
    if (resend) await this.#resend()
  }

  /** Asks again for every reply that is waited for. */
  async #resend(): Promise<void> {
    let after: SagaKey = { name: '', id: '' }
    for (;;) {
      const keys = await this.store.unowned(this.sql, this.#options.sagas, after, RESEND_LIMIT)
      await Promise.all(keys.map((key) => this.#engine.apply(key, { type: 'resumed' })))
      const last = keys.at(-1)
      if (last === undefined) return
      after = last
    }
  }

  async start(tx: SqlTransaction | undefined, saga: Saga, options: StartOptions<unknown>): Promise<void> {
    await this.#starter.start(tx, saga, options)
    if (tx !== undefined) this.#sweeper.nudge(COMMIT_MS)
  }

  /** An event from outside. */
  apply(key: SagaKey, event: SagaEvent, birth?: string): Promise<Applied | undefined> {
    return this.#engine.apply(key, event, { birth })
  }

  /** What an operator gives as a step's result, as a reply would have brought it. @throws CodecError, SagaPayloadTooLarge, SchemaError */
  async skipResult(key: SagaKey, given: unknown): Promise<unknown> {
    const result = stored(`result of skip(${key.name}/${key.id})`, given, this.#options.maxPayloadBytes)
    const known = result === undefined ? undefined : await this.#engine.find(key)
    if (known !== undefined) await requireStepResult(known.saga, known.row.state, result)
    return result
  }

  read(key: SagaKey): Promise<ReportedSaga | undefined> {
    return this.#reports.get(key)
  }

  /** For errors: what to say of a saga that cannot be driven here, `undefined` when there is none. */
  async statusOfUnloaded(key: SagaKey): Promise<string | undefined> {
    const row = await this.store.load(this.sql, key)
    return row === undefined ? undefined : `${row.state.status} on version ${row.version}, which is not loaded here`
  }

  replySink(): SinkBinding {
    const { service, replyConcurrency } = this.#options
    const options = { group: REPLY_GROUP, concurrency: replyConcurrency, maxAttempts: REPLY_ATTEMPTS }
    const replies = sink(sagaReplies(service), options, (reply) => this.#reply(reply))
    const ready = async (): Promise<void> => void (this.#isBound = true)
    return Object.freeze({ ...replies, ready })
  }

  health(closed: boolean): SagaHealth {
    const error = this.#sweeper.lastError?.message ?? (this.#isDeaf() ? DEAF : undefined)
    const live = error === undefined ? 'up' : 'down'
    const status = closed ? 'closed' : this.#sweeper.running ? live : 'idle'
    const census = this.#census
    return {
      status,
      ...(error !== undefined && { error }),
      inHand: this.#leases.size,
      open: census.count(),
      stuck: census.count('stuck'),
      late: this.#notices.late(),
      unloaded: census.unloaded(),
    }
  }

  /** Commands are sent, and nobody reads what comes back. */
  #isDeaf(): boolean {
    const { clock, sagas } = this.#options
    if (this.#isBound || clock.monotonic() - this.#ranAt < BOUND_WITHIN_MS) return false
    return sagas.some(({ steps }) => steps.some(({ kind }) => kind === 'command'))
  }

  /** Bounded, also when the database does not answer: what is left then expires by its lease. */
  async close(): Promise<void> {
    const { clock, drainTimeoutMs } = this.#options
    this.#unobserve?.()
    this.#runner.stop()
    await finishesWithin(clock, drainTimeoutMs + CLOSE_MS, this.#handOver())
    this.watch.close()
  }

  async #handOver(): Promise<void> {
    await Promise.all([this.#sweeper.stop(), this.retention.close()])
    await this.#runner.close(this.#options.drainTimeoutMs)
  }

  async #reply(reply: SagaReply): Promise<void> {
    const { logger } = this.#options
    const fields = { saga: reply.saga, id: reply.sagaId, step: reply.step, operation: reply.operation }
    const key = { name: reply.saga, id: reply.sagaId }
    const known = await this.#engine.find(key)
    if (known === undefined) {
      if (await this.store.post(this.sql, key, reply))
        logger.info(fields, 'reply left for an instance with its version')
      else logger.warn(fields, 'reply for a saga that is not here or has ended: ignored')
      return
    }
    const applied = await this.#applyReply(known.saga, key, reply)
    if (applied === 'left') logger.error(fields, 'reply left for an instance that can read the saga')
    else if (applied?.changed !== true) logger.debug(fields, 'late or repeated reply ignored')
  }

  /** One that is not applied within a lease is tried again, and does not hold up the others behind it. */
  async #applyReply(saga: Saga, key: SagaKey, reply: SagaReply): Promise<Applied | 'left' | undefined> {
    const { clock, leaseMs, maxPayloadBytes } = this.#options
    const work = replyEvent(saga, reply, maxPayloadBytes)
      .then((event) => this.apply(key, event, reply.birth))
      .catch(async (error: unknown) => {
        if (!(error instanceof SagaInputUnreadable)) throw error
        await this.store.post(this.sql, key, reply)
        return 'left' as const
      })
    const applied = await within(clock, leaseMs, work, 'hangs' as const)
    if (applied !== 'hangs') return applied
    throw new Error(
      `the reply for ${key.name}/${key.id} does not settle: a schema or a function of its definition hangs`,
    )
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
    if (this.#behind) this.#sweeper.nudge(0)
  }

  #committed(plan: Plan): void {
    const { next, write } = plan
    const { row } = next
    this.#measure(plan)
    if (takesOwnership(plan)) this.#runner.take(next)
    this.#notices.tellLate(plan)
    const { status } = row.state
    if (write.starts !== undefined || write.posts !== undefined) this.#sweeper.nudge(0)
    if (typeof write.wakeMs === 'number' && row.owner === null) this.#sweeper.nudge(write.wakeMs)
    if (write.heedsDeadline && next.deadlineAt !== undefined) {
      this.#sweeper.nudge(next.deadlineAt - this.#options.clock.monotonic())
    }
    if (status === 'running' || status === 'compensating') return
    this.watch.settled(row)
    this.#notices.ended(row)
  }

  #measure({ before, next, write }: Plan): void {
    if (this.#telemetry === undefined) return
    const ageMs = this.#options.clock.monotonic() - next.startedAt
    this.#telemetry.changed({ before: before.row, after: next.row, timeline: write.timeline }, ageMs)
  }

  async #sweep(): Promise<boolean> {
    const { leaseMs, sagas, clock } = this.#options
    await this.#census.refresh()
    const limit = Math.min(SWEEP_LIMIT, Math.ceil(this.#runner.room / 2)) // the other half is for what starts here
    this.#behind = limit === 0
    this.#sayIfDeaf()
    if (limit === 0) return false
    this.#runner.keep(limit)
    try {
      const takenAt = clock.monotonic()
      const rows = await this.store.claim(this.sql, this.#owner, leaseMs, sagas, limit)
      await Promise.all(rows.map((row) => this.#settles(row, this.#takeDue(row, takenAt))))
      return rows.length === limit
    } finally {
      this.#runner.letGo(limit)
    }
  }

  /**
   * Applies the mail, each item together with forgetting it. When nothing came of it what is due is done all the same.
   */
  async #readMail(taken: Snapshot, mail: readonly SagaMail[]): Promise<Applied | undefined> {
    const { row, saga } = taken
    const options = (snapshot: Snapshot, left: readonly SagaMail[]) => ({
      snapshot: { ...snapshot, row: { ...snapshot.row, mail: left.length === 0 ? null : left } },
      epoch: row.epoch,
    })
    let now = taken
    for (const [n, item] of mail.entries()) {
      const event = await this.#readable(saga, row, item)
      if (event === undefined) continue
      const applied = await this.#engine.apply(row, event, options(now, mail.slice(n + 1)))
      if (applied === undefined) return undefined
      now = applied.snapshot
      if (applied.changed && (now.row.owner !== row.owner || localCalls(now.row.state).length > 0)) return applied
    }
    return this.#engine.apply(row, { type: 'due' }, options(now, []))
  }

  /** `undefined`: a signal that does not fit the step's schema, whose sender could not be told. */
  async #readable(saga: Saga, { name, id }: SagaRow, mail: SagaMail): Promise<SagaEvent | undefined> {
    try {
      return await mailEvent(saga, mail, this.#options.maxPayloadBytes)
    } catch (error) {
      this.#options.logger.warn({ saga: name, id, err: toError(error) }, 'signal that does not fit its step ignored')
      return undefined
    }
  }

  #sayIfDeaf(): void {
    if (this.#saidDeaf || !this.#isDeaf()) return
    this.#saidDeaf = true
    this.#options.logger.error({}, DEAF)
  }

  /** A schema or a function of a definition that never settles holds up its own saga only. */
  async #settles({ name, id }: SagaKey, work: Promise<void>): Promise<void> {
    const { clock, leaseMs, logger } = this.#options
    if (await finishesWithin(clock, leaseMs, work)) return
    logger.error({ saga: name, id, leaseMs }, 'saga does not settle: a schema or a function of its definition hangs')
  }

  async #takeDue(row: SagaRow, takenAt: number): Promise<void> {
    const snapshot = this.#engine.snapshot(row, takenAt)
    if (snapshot === undefined) return
    try {
      const applied =
        row.mail === null
          ? await this.#engine.apply(row, { type: 'due' }, { snapshot, epoch: row.epoch })
          : await this.#readMail(snapshot, row.mail)
      if (applied?.changed === true) this.#runner.take(applied.snapshot)
      else await this.store.rest(this.sql, row)
    } catch (error) {
      const fields = { saga: row.name, id: row.id, err: toError(error) }
      this.#options.logger.warn(fields, 'due saga not handled, it comes back after its lease')
    }
  }
}

function versionKey({ name, version }: { readonly name: string; readonly version: number }): string {
  return `${name}@${version}`
}

/** Owners of one life of an embedded database begin so; those of a former life are gone for certain. */
function ownerPrefix(exclusive: string): string {
  return `${exclusive}:`
}
