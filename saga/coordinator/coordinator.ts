/**
 * The coordinator: starts sagas, drives them, and gives people a view of them. Several instances of a service share the work through the
 * database; none of them is special.
 *
 * A saga has an owner only while a process runs a local step for it. While it waits for a reply or a pause it has none: the instance that
 * receives a reply applies it, and the first instance that polls takes what is due.
 *
 * Not guaranteed: isolation. Other transactions see the effects of a saga's first steps before its end.
 */
import type { Binding } from '../../binder/bindings/declarations.ts'
import type { Channel } from '../../binder/channel/channel.ts'
import { requireMayStart } from '../../core/declarations-only.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { Lifecycle } from '../../core/lifecycle.ts'
import { MAX_AGE_MS, refuseOwnTransaction, type SqlExecutor, type SqlTransaction } from '../../core/sql.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { commandChannels, takesSignal } from '../definition/saga-destinations.ts'
import { requireSagaId } from '../definition/saga-id.ts'
import { SagaError } from '../errors.ts'
import type { GlobalTransactionDefinition } from '../global/definition.ts'
import { type Stored, stored } from '../json.ts'
import type { OperatorAction } from '../machine/event.ts'
import type { ListFilter, SagaKey, SagaSignal, SagaSummary } from '../store/store-types.ts'
import { migrateSagas } from '../store/tables.ts'
import type { AnyHeaders } from '../wire/transaction-header.ts'
import { CoordinatorParts } from './coordinator-parts.ts'
import type { GlobalTransaction } from './global-transaction.ts'
import type { SagaHealth } from './health.ts'
import { type OperatorNote, requireNote, requireTarget, resolveFilter, type SagaTarget } from './operator-checks.ts'
import { type CoordinatorOptions, type ResolvedOptions, resolveCoordinatorOptions } from './options.ts'
import { createRun, type SagaReport, type SagaRun } from './saga-run.ts'
import type { HandOn } from './signals.ts'
import type { StartOptions } from './starter.ts'
import { type GlobalTransactionRunOptions, resolvePropagation } from './transaction-propagation.ts'

/** Options of `coordinator.run`. */
export interface RunOptions {
  /**
   * True: sends every unanswered command again at once instead of when its time is up; it counts as no attempt. For a
   * transport that loses what is in flight when the process dies (memory). @default false
   */
  readonly resend?: boolean | undefined
}

/** Drives the sagas of one service, together with its other instances: each saga is in one hand at a time. */
export interface Coordinator extends AsyncDisposable {
  readonly instance: string
  /** The reply sink, and one for each channel whose messages are signals: give them to `createBinder`. */
  readonly bindings: readonly Binding[]
  /** The command channels: the binder's `sends`. */
  readonly channels: readonly Channel[]
  /** Creates the tables. Idempotent; safe when several processes start at once. */
  migrate(): Promise<void>
  /**
   * Begins to drive sagas; resolves once it does. Until then `start` leaves local steps to other instances.
   * @throws `saga.graph_changed`; `saga.closed`, also when `close` is called before it drives
   */
  run(options?: RunOptions): Promise<void>
  /**
   * Starts a saga, or finds the one that has this id already: idempotent by (saga name, id). Resolves when it is durable.
   * @throws `saga.conflict` when the id has another input; SchemaError; `saga.graph_changed`; `saga.closed`
   */
  start<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>>
  /** The same within the caller's transaction: the saga exists if that commits. */
  start<In, Out, Results extends object>(
    tx: SqlTransaction,
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>>
  /**
   * Runs code as one transaction over all branches that it calls: when the code has returned all are confirmed, when it
   * threw, its process died or its time was up all are cancelled. Resolves with what the code returned (as JSON) when all
   * are confirmed. Called again with an id that is there already it runs nothing, and waits for what becomes of that one.
   * Within the code of another global transaction it joins that one, unless `propagation` says otherwise.
   * @throws what the code threw, when all is cancelled because of that; `saga.transaction_cancelled` when it is for another reason;
   * `saga.transaction_stuck`; `saga.pending` after `timeoutMs` (the transaction goes on); as `start`
   */
  globalTransaction<In, Out, Result>(
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>>
  /**
   * Runs `work` in the global transaction that a request or a message came with (`transactionHeaders()`), whose code runs in
   * another process on the same database; without such a header as it is. Within, `globalTransaction` joins it as if its code
   * were around, and `currentGlobalTransaction()` gives it: each branch is durable before it is called, and refused
   * (`saga.transaction_ended`) once the transaction is decided, cancelled or late. What the header says is a stranger's word:
   * let those in whom you would let call the branches themselves.
   *
   * When `work` throws, or returns a `Response` with a status of 500 or more, the transaction is cancelled before this settles.
   * @throws `saga.transaction_header`, `saga.transaction_not_here`; what `work` throws
   */
  inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T>
  /** A handle on a saga; reads nothing yet. @throws TypeError for an id that no saga can have */
  get<In, Out, Results extends object>(saga: Saga<In, Out, Results>, id: string): SagaRun<Results>
  /**
   * Tells a saga what its step `.signal(step, ...)` waits for, maybe before it waits. Resolves when that is durable: false
   * when the step is over already, or the saga; so a repetition is harmless. False, too, when the saga's version has no such step.
   * @throws SchemaError, `saga.not_found`; TypeError when the saga has no such step
   */
  signal<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    id: string,
    step: keyof Results & string,
    payload: unknown,
  ): Promise<boolean>
  /** Oldest first; page by page with `after`. @throws TypeError / RangeError naming what is wrong in the filter */
  list(filter?: ListFilter): Promise<readonly SagaSummary[]>
  /** All that is known of a saga, its timeline included, whether its version is loaded here or not. @throws `saga.not_found` */
  report(target: SagaTarget): Promise<SagaReport>
  /**
   * Turns a running saga back: what was done is undone, and it ends `compensated` with the failure `saga.cancelled`. A
   * local call that runs at this moment is let finish first. Refused from the pivot on.
   */
  cancel(target: SagaTarget, note: OperatorNote): Promise<void>
  /** Calls the step again on which the saga is stuck. @throws `saga.not_found`, `saga.action_refused` (also those below) */
  retry(target: SagaTarget, note: OperatorNote): Promise<void>
  /** Takes the step as done (forward, with `result`) or as undone (backward), without a call, and goes on. @throws also CodecError,
   * `saga.payload_too_large`, SchemaError for a `result` that a reply could not have had */
  skip(target: SagaTarget, note: OperatorNote & { readonly result?: unknown }): Promise<void>
  /** Stuck on the pivot only: it certainly did not happen, undo what came before. */
  compensate(target: SagaTarget, note: OperatorNote): Promise<void>
  /** Ends the saga: the rest was settled by hand. */
  resolve(target: SagaTarget, note: OperatorNote & { readonly outcome: 'completed' | 'compensated' }): Promise<void>
  /**
   * Deletes sagas that ended longer ago than this, with their timelines, after `archive` was told; returns how many. With
   * `retentionMs` it is done by itself, every hour.
   */
  purge(options: { readonly olderThanMs: number }): Promise<number>
  health(): SagaHealth
  /**
   * Stops taking work, lets running local steps finish (at most `drainTimeoutMs`), and gives every lease back at once.
   * Before or after the binder, but before the database. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** @throws TypeError / RangeError naming the option */
export function createCoordinator(options: CoordinatorOptions): Coordinator {
  return new SagaCoordinator(resolveCoordinatorOptions(options))
}

/** Implements `Coordinator`, with the extra members for sharding. */
export class SagaCoordinator implements Coordinator {
  readonly instance: string
  readonly bindings: readonly Binding[]
  readonly channels: readonly Channel[]
  readonly #options: ResolvedOptions
  readonly #parts: CoordinatorParts
  readonly #life = new Lifecycle(() => new SagaError('saga.closed'))

  /** @param handOn delivers signals whose sagas are in the databases of other shards */
  constructor(options: ResolvedOptions, handOn?: HandOn) {
    this.#options = options
    this.#parts = new CoordinatorParts(options, handOn)
    this.instance = options.instance
    this.bindings = Object.freeze([this.#parts.replies.sink(), ...this.#parts.signals.sinks()])
    this.channels = Object.freeze(commandChannels(options.sagas))
  }

  async migrate(): Promise<void> {
    await migrateSagas(this.#options.sql, this.#options.schema)
  }

  async run({ resend = false }: RunOptions = {}): Promise<void> {
    this.#life.requireOpen()
    requireMayStart('coordinator.run')
    await this.#parts.run(resend, () => this.#life.requireOpen())
    this.#life.requireOpen()
  }

  start<Results extends object>(
    first: SqlTransaction | Saga<unknown, unknown, Results>,
    second: unknown,
    third?: StartOptions<unknown>,
  ): Promise<SagaRun<Results>> {
    const [tx, saga, options] =
      'inTransaction' in first ? [first, second as Saga, third] : [undefined, first, second as StartOptions<unknown>]
    return this.startAt(undefined, tx, saga as Saga<unknown, unknown, Results>, options as StartOptions<unknown>)
  }

  /** @param shardMark what the saga is marked with on a shard. @throws as `start`, and `saga.shards_changed` */
  async startAt<Results extends object>(
    shardMark: string | undefined,
    tx: SqlTransaction | undefined,
    saga: Saga<unknown, unknown, Results>,
    options: StartOptions<unknown>,
  ): Promise<SagaRun<Results>> {
    this.#life.requireOpen()
    await this.#parts.start(tx, saga, options, shardMark)
    return this.get(saga, options.id)
  }

  /** Whether there is a saga with this name and id in its database. */
  async has(key: SagaKey, sql?: SqlExecutor): Promise<boolean> {
    return this.#parts.has(key, sql)
  }

  async globalTransaction<In, Out, Result>(
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>> {
    return this.globalTransactionAt(undefined, definition, options, code)
  }

  /** @param shardMark as of `startAt` */
  async globalTransactionAt<In, Out, Result>(
    shardMark: string | undefined,
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>> {
    this.#life.requireOpen()
    refuseOwnTransaction(this.#options.sql)
    const { join, ...start } = resolvePropagation(definition, options, code)
    if (join !== undefined) return (await join()) as Stored<Result>
    const { transactions } = this.#parts
    return (await transactions.transact(definition as unknown as Saga, start, code, shardMark)) as Stored<Result>
  }

  async inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T> {
    this.#life.requireOpen()
    refuseOwnTransaction(this.#options.sql)
    return this.#parts.transactions.inherit(headers, work)
  }

  get<In, Out, Results extends object>(saga: Saga<In, Out, Results>, id: string): SagaRun<Results> {
    return createRun<Results>(this.#parts, saga.name, requireSagaId('get', id))
  }

  async signal<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    id: string,
    step: keyof Results & string,
    payload: unknown,
  ): Promise<boolean> {
    this.#life.requireOpen()
    if (!takesSignal(saga, step)) {
      throw invalidOption('signal', step, `a step of "${saga.name}" made by .signal(name, { payload })`)
    }
    const key = { name: saga.name, id: requireSagaId('signal', id) }
    return this.#parts.signals.send(key, {
      signal: step,
      payload: stored(`signal "${step}" of ${saga.name}/${id}`, payload, this.#options.maxPayloadBytes),
    })
  }

  /** Hands a message's signal to a saga of its database. @throws `saga.not_found`, SchemaError */
  async take(key: SagaKey, signal: SagaSignal): Promise<boolean> {
    this.#life.requireOpen()
    return this.#parts.signals.send(key, signal)
  }

  async list(filter: ListFilter = {}): Promise<readonly SagaSummary[]> {
    return this.#parts.list(resolveFilter(filter))
  }

  async report(target: SagaTarget): Promise<SagaReport> {
    const { name, id } = requireTarget('report', target)
    return createRun(this.#parts, name, id).report()
  }

  cancel(target: SagaTarget, note: OperatorNote): Promise<void> {
    return this.#operate(target, { do: 'cancel' }, note)
  }

  retry(target: SagaTarget, note: OperatorNote): Promise<void> {
    return this.#operate(target, { do: 'retry' }, note)
  }

  async skip(target: SagaTarget, note: OperatorNote & { readonly result?: unknown }): Promise<void> {
    const action = await this.#parts.operators.skipAction(requireTarget('skip', target), note?.result)
    await this.#operate(target, action, note)
  }

  compensate(target: SagaTarget, note: OperatorNote): Promise<void> {
    return this.#operate(target, { do: 'compensate' }, note)
  }

  async resolve(
    target: SagaTarget,
    note: OperatorNote & { readonly outcome: 'completed' | 'compensated' },
  ): Promise<void> {
    const { outcome } = { ...requireNote('resolve', note), outcome: note.outcome }
    if (outcome !== 'completed' && outcome !== 'compensated') {
      throw invalidOption('resolve.outcome', outcome, "'completed' or 'compensated'")
    }
    await this.#operate(target, { do: 'resolve', outcome }, note)
  }

  async purge(options: { readonly olderThanMs: number }): Promise<number> {
    this.#life.requireOpen()
    return this.#parts.retention.purge(requireInteger('purge.olderThanMs', options?.olderThanMs, 0, MAX_AGE_MS))
  }

  health(): SagaHealth {
    return this.#parts.health(this.#life.isClosed)
  }

  close(): Promise<void> {
    return this.#life.close(() => this.#parts.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #operate(target: SagaTarget, action: OperatorAction, note: OperatorNote): Promise<void> {
    this.#life.requireOpen()
    await this.#parts.operators.operate(requireTarget(action.do, target), action, requireNote(action.do, note))
  }
}
