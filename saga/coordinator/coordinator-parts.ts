/** Assembles the parts of a coordinator: its inputs (starts, replies, due times) and the work that they cause. */

import { requireSequences } from '../../core/check-sql-sequences.ts'
import { SECOND } from '../../core/clock.ts'
import type { SqlExecutor, SqlTransaction } from '../../core/sql.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { directTargets } from '../definition/saga-destinations.ts'
import type { ReportedSaga, ResolvedFilter, SagaKey, SagaSummary, SagaVersion } from '../store/store-types.ts'
import { BatchedReads } from './batched-reads.ts'
import { requireFit } from './direct-calls.ts'
import { DueSagaPoller } from './due-saga-poller.ts'
import { DueSagaRunner } from './due-saga-runner.ts'
import { EventApplier } from './event-applier.ts'
import { GlobalTransactions } from './global-transactions.ts'
import { detailOf, type SagaHealth } from './health.ts'
import { waitAtMostOneLease } from './lease-length-timeout.ts'
import { Leases } from './leases.ts'
import { LocalChainRunner } from './local-chain-runner.ts'
import { OpenSagaCounts } from './open-saga-counts.ts'
import { OperatorActions } from './operator-actions.ts'
import type { ResolvedOptions } from './options.ts'
import { OutcomeWaiters } from './outcome-waiters.ts'
import { requireReadableInputs } from './read-stored-input.ts'
import { Replies } from './replies.ts'
import { Retention } from './retention.ts'
import { type CoordinatorRuntime, createRuntime, ownerPrefix } from './runtime.ts'
import { SagaCapacity } from './saga-capacity.ts'
import type { RunSource } from './saga-run.ts'
import { type HandOn, Signals } from './signals.ts'
import { Starter, type StartOptions } from './starter.ts'
import { UserNotifications } from './user-notifications.ts'
import { WatchedDatabase } from './watched-database.ts'
import { type Plan, takesOwnership } from './write-plan.ts'

/** Number of sagas whose commands are resent concurrently. */
const RESEND_LIMIT = 64
/** Time limit of closing, in addition to the drain. */
const CLOSE_MS = 5 * SECOND
/** Delay before the first read of a saga that the caller's transaction starts, because that transaction has to commit first. */
const COMMIT_MS = 20

export class CoordinatorParts implements RunSource {
  readonly outcomes: OutcomeWaiters
  readonly replies: Replies
  readonly signals: Signals
  readonly transactions: GlobalTransactions
  readonly retention: Retention
  readonly operators: OperatorActions
  readonly #runtime: CoordinatorRuntime
  readonly #database: WatchedDatabase
  readonly #applier: EventApplier
  readonly #leases: Leases
  readonly #capacity: SagaCapacity
  readonly #runner: LocalChainRunner
  readonly #dueSagaPoller: DueSagaPoller
  readonly #due: DueSagaRunner
  readonly #starter: Starter
  readonly #openSagaCounts: OpenSagaCounts
  readonly #notices: UserNotifications
  readonly #reports: BatchedReads<SagaKey, ReportedSaga | undefined>
  #unobserve: (() => void) | undefined

  /** @param handOn same as for `Signals` */
  constructor(options: ResolvedOptions, handOn?: HandOn) {
    this.#database = new WatchedDatabase(options.sql, options.schema, options.clock, () => this.#applier.forget())
    const runtime = createRuntime(options, this.#database)
    const { sql, reports } = runtime
    this.#runtime = runtime
    this.#leases = new Leases(runtime)
    this.#capacity = new SagaCapacity(this.#leases, options.concurrency, () => this.#onRoom())
    this.#applier = new EventApplier(runtime, this.#capacity, (plan) => this.#committed(plan))
    this.outcomes = new OutcomeWaiters(runtime)
    this.#reports = new BatchedReads(sql, (keys) => reports.read(sql, keys))
    this.#runner = new LocalChainRunner(runtime, this.#applier, this.#leases, this.#capacity)
    this.#notices = new UserNotifications(runtime)
    this.#due = new DueSagaRunner(runtime, this.#applier, this.#runner, this.#notices)
    this.#dueSagaPoller = new DueSagaPoller(runtime, {
      sweep: () => this.#sweep(),
      nextDueMs: () => this.#due.nextDueMs(),
    })
    this.#starter = new Starter(runtime, this.#applier)
    this.transactions = new GlobalTransactions(runtime, this.#applier, this.#starter, this)
    this.retention = new Retention(runtime)
    this.replies = new Replies(runtime, this.#applier)
    this.signals = new Signals(runtime, this.#applier, handOn)
    this.#openSagaCounts = new OpenSagaCounts(runtime, () => this.#notices.forgetAnswered())
    this.operators = new OperatorActions(runtime, this.#applier)
  }

  /** Tells whether the database has a saga with this name and id. */
  has(key: SagaKey, sql: SqlExecutor = this.#runtime.sql): Promise<boolean> {
    return this.#runtime.store.has(sql, key)
  }

  list(filter: ResolvedFilter): Promise<readonly SagaSummary[]> {
    return this.#runtime.reports.list(this.#runtime.sql, filter)
  }

  definition(version: SagaVersion): Saga | undefined {
    return this.#runtime.definition(version)
  }

  /** @param requireOpen called before starting anything that only `close` ends */
  async run(resend: boolean, requireOpen: () => void): Promise<void> {
    const { sql, leaseStore, schema, sagas, clock, logger, telemetry, stepCalls } = this.#runtime
    await requireSequences(sql, schema, ['saga_event'])
    await requireReadableInputs(this.#runtime)
    await requireFit(directTargets(sagas), clock, logger)
    await this.#starter.open(sql)
    if (sql.exclusive !== undefined) await leaseStore.expireOthers(sql, ownerPrefix(sql.exclusive))
    requireOpen()
    this.#unobserve ??= telemetry?.observe(
      () => this.#openSagaCounts.rows ?? [],
      () => this.#leases.size,
      () => stepCalls.slow(),
    )
    this.#dueSagaPoller.start()
    this.#capacity.open()
    this.retention.start()
    this.replies.expect()
    if (resend) await this.#resend()
  }

  /** Sends every unanswered command again. */
  async #resend(): Promise<void> {
    const { sql, leaseStore, sagas } = this.#runtime
    let after: SagaKey = { name: '', id: '' }
    for (;;) {
      const keys = await leaseStore.unowned(sql, sagas, after, RESEND_LIMIT)
      await Promise.all(
        keys.map((key) => waitAtMostOneLease(this.#runtime, key, this.#applier.apply(key, { type: 'resumed' }))),
      )
      const last = keys.at(-1)
      if (last === undefined) return
      after = last
    }
  }

  async start(
    tx: SqlTransaction | undefined,
    saga: Saga,
    options: StartOptions<unknown>,
    shardMark: string | undefined,
  ): Promise<void> {
    await this.#starter.start(tx, saga, options, shardMark)
    if (tx !== undefined) this.#dueSagaPoller.nudge(COMMIT_MS)
  }

  read(key: SagaKey): Promise<ReportedSaga | undefined> {
    return this.#reports.get(key)
  }

  health(closed: boolean): SagaHealth {
    const error =
      this.#dueSagaPoller.lastError?.message ??
      this.#database.problem ??
      this.#applier.writeFailures.problem() ??
      this.replies.problem()
    const slow = this.#runtime.stepCalls.slow()
    const leftMessages = this.#openSagaCounts.leftMessages()
    const unreadable = this.#applier.readFailures.problem()
    const waiting = this.#notices.waiting()
    const detail = error === undefined ? detailOf({ slow, leftMessages, unreadable, waiting }) : undefined
    const live = !this.#dueSagaPoller.running ? 'idle' : detail === undefined ? 'up' : 'degraded'
    const status = closed ? 'closed' : error === undefined ? live : 'down'
    const counts = this.#openSagaCounts
    return {
      status,
      ...(error !== undefined && { error }),
      ...(detail !== undefined && { detail }),
      inHand: this.#leases.size,
      open: counts.count(),
      stuck: counts.count('stuck'),
      late: this.#notices.late(),
      slow,
      unloaded: counts.unloaded(),
      leftMessages,
      unarchived: this.retention.unarchived(),
    }
  }

  /** Closes within a time limit, even if the database does not answer. Remaining leases expire. */
  async close(): Promise<void> {
    const { clock, drainTimeoutMs } = this.#runtime
    this.#unobserve?.()
    this.#runner.stop()
    await finishesWithin(clock, drainTimeoutMs + CLOSE_MS, this.#handOver())
    this.outcomes.close()
    this.#database.close()
  }

  async #handOver(): Promise<void> {
    const { drainTimeoutMs } = this.#runtime
    const looks = () => Promise.all([this.#due.settled(), this.signals.unloaded.close(), this.#openSagaCounts.close()])
    const swept = this.#dueSagaPoller.stop().then(looks)
    // A due saga that does not settle must not prevent the handover of others.
    await Promise.all([swept, this.retention.close(), this.#drain(drainTimeoutMs)])
    // Sagas that have settled meanwhile may have begun a chain.
    await this.#runner.close(drainTimeoutMs)
    await this.#notices.close()
  }

  async #drain(drainMs: number): Promise<void> {
    const { clock, runningTransactions } = this.#runtime
    const since = clock.monotonic()
    // Running or joined code sends its own requests until it ends.
    await Promise.all([this.#runner.close(drainMs), finishesWithin(clock, drainMs, runningTransactions.left())])
    runningTransactions.close()
    await this.replies.direct.close(Math.max(0, drainMs - (clock.monotonic() - since)))
  }

  #onRoom(): void {
    if (this.#due.isBehind) this.#dueSagaPoller.nudge(0)
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
    if (write.starts !== undefined || write.posts !== undefined) this.#dueSagaPoller.nudge(0)
    if (typeof write.wakeMs === 'number' && (row.owner === null || status === 'stuck'))
      this.#dueSagaPoller.nudge(write.wakeMs)
    if (write.heedsDeadline && next.deadlineAt !== undefined) {
      this.#dueSagaPoller.nudge(next.deadlineAt - this.#runtime.clock.monotonic())
    }
    if (status === 'running' || status === 'compensating') return
    this.outcomes.settled(row)
    this.#notices.ended(row)
    if (status === 'stuck') this.#notices.told(row)
  }

  #measure({ before, next, write }: Plan): void {
    const { telemetry, clock } = this.#runtime
    if (telemetry === undefined) return
    const ageMs = clock.monotonic() - next.startedAt
    telemetry.changed({ before: before.row, after: next.row, timeline: write.timeline }, ageMs)
  }

  async #sweep(): Promise<boolean> {
    this.replies.sayProblem()
    const taken = this.#due.poll()
    this.signals.unloaded.look()
    this.#openSagaCounts.look()
    return taken
  }
}
