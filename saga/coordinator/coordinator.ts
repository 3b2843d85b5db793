/**
 * The coordinator: starts sagas, drives them, and shows their state to operators. Several instances of a service share the work
 * through the database, and all instances are equal.
 *
 * A saga has an owner only while a process runs a local step for it. While it waits for a reply or a pause it has no owner: the
 * instance that receives a reply applies it, and the first instance that polls takes the sagas that are due.
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
   * True: sends every unanswered command again at once instead of after its timeout, without counting an attempt. For a transport
   * that loses messages in flight when the process dies (memory). @default false
   */
  readonly resend?: boolean | undefined
}

/** Drives the sagas of one service. Its instances share the sagas: one process at a time works on a saga. */
export interface Coordinator extends AsyncDisposable {
  readonly instance: string
  /** The reply sink, and a sink for each channel whose messages are signals: pass them to `createBinder`. */
  readonly bindings: readonly Binding[]
  /** The command channels: pass them to the binder as `sends`. */
  readonly channels: readonly Channel[]
  /** Creates the tables. Idempotent; safe when several processes start at once. */
  migrate(): Promise<void>
  /**
   * Starts to drive sagas, and resolves when it does. Until then `start` leaves local steps to other instances.
   * @throws `saga.graph_changed`; `saga.closed`, also when `close` is called while it starts
   */
  run(options?: RunOptions): Promise<void>
  /**
   * Starts a saga, or finds the saga that already has this id: idempotent by (saga name, id). Resolves when the saga is durable.
   * @throws `saga.conflict` when the saga with this id has another input; SchemaError; `saga.graph_changed`; `saga.closed`
   */
  start<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>>
  /** Starts the saga within the caller's transaction: the saga exists if that transaction commits. */
  start<In, Out, Results extends object>(
    tx: SqlTransaction,
    saga: Saga<In, Out, Results>,
    options: StartOptions<In>,
  ): Promise<SagaRun<Results>>
  /**
   * Runs code as one transaction over all branches that it calls. The coordinator confirms all of them after the code has
   * returned, and cancels all of them if the code throws, its process dies or its time limit passes. Resolves with the value that
   * the code returned (as JSON) when all branches are confirmed. If the id already exists, the code does not run: the call waits
   * for the outcome of the existing transaction. Inside the code of another global transaction it joins that one, unless
   * `propagation` says otherwise.
   * @throws the error of the code, when all branches are cancelled because of it; `saga.transaction_cancelled` when they are
   * cancelled for another reason; `saga.transaction_stuck`; `saga.pending` after `timeoutMs` (the transaction continues); the
   * errors of `start`
   */
  globalTransaction<In, Out, Result>(
    definition: GlobalTransactionDefinition<In, Out>,
    options: GlobalTransactionRunOptions<In>,
    code: (global: GlobalTransaction) => Result | Promise<Result>,
  ): Promise<Stored<Result>>
  /**
   * Runs `work` in the global transaction named by the headers of a request or message (`transactionHeaders()`). The code of that
   * transaction runs in another process on the same database. Without such a header `work` runs outside of any transaction.
   * Inside `work`, `globalTransaction` joins the transaction as if its code were around it, and `currentGlobalTransaction()`
   * returns it. Each branch is durable before it is called, and refused (`saga.transaction_ended`) once the transaction is
   * decided, cancelled or timed out. The header proves nothing about its sender: accept it only from callers that you would allow
   * to call the branches themselves.
   *
   * If `work` throws, or returns a `Response` with a status of 500 or more, the transaction is cancelled before this promise
   * settles.
   * @throws `saga.transaction_header`, `saga.transaction_not_here`; the error of `work`
   */
  inheritTransaction<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T>
  /** Returns a handle on a saga, without reading anything. @throws TypeError for an id that no saga can have */
  get<In, Out, Results extends object>(saga: Saga<In, Out, Results>, id: string): SagaRun<Results>
  /**
   * Sends a signal to the step `.signal(step, ...)` of a saga, which may not have reached that step yet. Resolves when the signal
   * is durable. Resolves with false when the step or the saga has already ended, so repeating the call is harmless, and when the
   * saga's version has no such step. @throws SchemaError, `saga.not_found`; TypeError when the saga has no such step
   */
  signal<In, Out, Results extends object>(
    saga: Saga<In, Out, Results>,
    id: string,
    step: keyof Results & string,
    payload: unknown,
  ): Promise<boolean>
  /**
   * Lists sagas, oldest first, page by page with `after`. @throws TypeError / RangeError naming the invalid part of the filter
   */
  list(filter?: ListFilter): Promise<readonly SagaSummary[]>
  /**
   * Returns the full state of a saga with its timeline, even if this process did not load its version. @throws `saga.not_found`
   */
  report(target: SagaTarget): Promise<SagaReport>
  /**
   * Cancels a running saga: its completed steps are undone, and it ends `compensated` with the failure `saga.cancelled`. A local
   * call that runs at this moment finishes first. Refused from the pivot on.
   */
  cancel(target: SagaTarget, note: OperatorNote): Promise<void>
  /** Calls again the step on which the saga is stuck. @throws `saga.not_found`, `saga.action_refused`, as all actions below */
  retry(target: SagaTarget, note: OperatorNote): Promise<void>
  /**
   * Marks the step as done (forward, with `result`) or as undone (backward) without calling it, and continues. @throws also
   * CodecError, `saga.payload_too_large`, and SchemaError for a `result` that the step's reply schema refuses
   */
  skip(target: SagaTarget, note: OperatorNote & { readonly result?: unknown }): Promise<void>
  /** For a saga that is stuck on the pivot, when the pivot certainly did not happen: undoes the steps before it. */
  compensate(target: SagaTarget, note: OperatorNote): Promise<void>
  /** Ends the saga, after an operator has settled the rest by hand. */
  resolve(target: SagaTarget, note: OperatorNote & { readonly outcome: 'completed' | 'compensated' }): Promise<void>
  /**
   * Deletes sagas that ended longer ago than `olderThanMs`, with their timelines, after `archive` has received them. Returns how
   * many. With `retentionMs` the coordinator does this every hour.
   */
  purge(options: { readonly olderThanMs: number }): Promise<number>
  health(): SagaHealth
  /**
   * Stops taking work, lets running local steps finish (for at most `drainTimeoutMs`), and gives all leases back at once. Call it
   * before or after closing the binder, but before closing the database. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** Creates a coordinator; `run` starts it. @throws TypeError / RangeError naming the option */
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

  /** @param handOn delivers signals to sagas in the databases of other shards */
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

  /** @param shardMark mark that the saga gets on a shard. @throws the errors of `start`, and `saga.shards_changed` */
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

  /** Tells whether the coordinator's database has a saga with this name and id. */
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

  /** @param shardMark same as for `startAt` */
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

  /** Passes the signal in a message of another shard to a saga in this database. @throws `saga.not_found`, SchemaError */
  async take(key: SagaKey, signal: SagaSignal, context: object | undefined): Promise<boolean> {
    this.#life.requireOpen()
    return this.#parts.signals.receive(key, signal, context)
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
