/**
 * A transaction that is plain code, in the process that runs the code. Each call of a branch is durable before it is sent; the
 * return of the code is durable before the first branch is confirmed. After that, or when this process dies, the coordinator
 * drives the transaction like any saga.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { endingContext } from '../../core/async-contexts.ts'
import { toError } from '../../core/errors.ts'
import type { ContextLogger } from '../../core/logger.ts'
import { readable } from '../../core/thrown-values.ts'
import type { StepContext } from '../definition/step-contexts.ts'
import type { Branch } from '../global/definition.ts'
import { stored } from '../json.ts'
import type { GrownStep } from '../machine/state.ts'
import { inSaga } from '../wire/current-saga.ts'
import type { TransactionRef } from '../wire/transaction-header.ts'
import { type BranchCaller, BranchTryCalls } from './branch-try-calls.ts'
import type { EventApplier } from './event-applier.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { HeldBody } from './running-global-transactions.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Argument of a global transaction's code. */
export interface GlobalTransaction {
  /** Name of the definition. */
  readonly name: string
  readonly id: string
  /**
   * Aborts when the transaction is about to be cancelled, its time limit passes, or its lease is lost; further calls are refused.
   * In a process that has joined the transaction it aborts up to `pollMs` later.
   */
  readonly signal: AbortSignal
  readonly log: ContextLogger
  /**
   * Calls `try` of a branch and returns its result. Calls may run concurrently. A call that is not awaited is part of the
   * transaction, but whether its refusal cancels the transaction depends on its timing, so await each call.
   * @throws BranchRefused when the participant refused: it did nothing, and the code may continue without it;
   * `saga.branch_failed` when the outcome is unknown: then the transaction is cancelled, whatever the code does;
   * `saga.transaction_ended` when it is too late
   */
  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result>
}

export type Code = (global: GlobalTransaction) => unknown

interface Thrown {
  readonly error: unknown
  /** True: the transaction had stopped accepting calls before, so this is not the reason of the cancellation. */
  readonly tooLate: boolean
}

/** A global transaction as seen by code inside it, with the transactions around it. */
export interface AroundCode extends GlobalTransaction {
  /** Reference for other processes; `undefined` when the transaction cannot be passed on. */
  readonly ref: TransactionRef | undefined
  /** True for this transaction and the ones around it. */
  isWithin(name: string, id: string): boolean
  /** Runs code as part of this transaction. If it throws, the transaction can no longer be confirmed. */
  join(code: Code): Promise<unknown>
}

const storage = endingContext<AroundCode>()

/** Returns the global transaction whose code is running here, across `await`; `undefined` outside of one. */
export function currentGlobalTransaction(): GlobalTransaction | undefined {
  return storage.getStore()
}

/** Runs `work` outside of the surrounding global transaction ("not supported" in other systems). */
export function outsideGlobalTransaction<T>(work: () => T): T {
  return storage.exit(work)
}

/** Returns the transaction of the calling code, for code that joins it. */
export function runningCode(): AroundCode | undefined {
  return storage.getStore()
}

/** Runs `work` in this transaction. */
export function withinTransaction<T>(transaction: AroundCode, work: () => T): T {
  return storage.run(transaction, work)
}

export class RunningCode implements HeldBody, AroundCode {
  readonly name: string
  readonly id: string
  readonly #runtime: CoordinatorRuntime
  readonly #code: Code
  readonly #caller: BranchCaller
  readonly #branches: BranchTryCalls
  /** Context of the `globalTransaction` call, so that its locks and spans apply to the code, too. */
  readonly #inside: <T>(work: () => T) => T = AsyncLocalStorage.snapshot()
  /** Transaction whose code begins this one. */
  readonly #around: AroundCode | undefined = runningCode()
  #log: ContextLogger | undefined
  /** Exception that the code threw. */
  #thrown: Thrown | undefined
  /** Error of joined code, because of which the transaction must not be confirmed even if its own code returned. */
  #doomed: { readonly error: unknown } | undefined

  constructor(
    runtime: CoordinatorRuntime,
    applier: EventApplier,
    { definition, id }: Pick<BranchCaller, 'definition' | 'id'>,
    code: Code,
  ) {
    this.#runtime = runtime
    this.name = definition.name
    this.id = id
    this.#code = code
    this.#caller = { definition, id, log: () => this.log, prefix: '', birth: undefined }
    this.#branches = new BranchTryCalls(runtime, applier, this.#caller)
  }

  get signal(): AbortSignal {
    return this.#branches.signal
  }

  get ref(): TransactionRef | undefined {
    const { service } = this.#runtime
    const { birth } = this.#caller
    return birth === undefined ? undefined : { service, name: this.name, id: this.id, birth }
  }

  get log(): ContextLogger {
    if (this.#log === undefined) throw new TypeError('log: the code has not begun')
    return this.#log
  }

  /** Exception that the code threw, if any. */
  get thrown(): Thrown | undefined {
    return this.#thrown
  }

  async run({ saga, sagaId, birth, step, key, signal, log }: StepContext): Promise<unknown> {
    const scope = { saga, sagaId, step, operation: 'invoke', key } as const
    this.#log = log
    this.#caller.birth = birth
    const onAbort = (): void => this.#branches.end(toError(signal.reason).message, signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      const result = await this.#inside(() => inSaga(scope, () => storage.run(this, async () => this.#code(this))))
      await this.#branches.allAsked()
      if (this.#doomed !== undefined) throw this.#doomed.error
      return result
    } catch (thrown) {
      const error = readable(thrown)
      this.#thrown = { error, tooLate: this.signal.aborted }
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#branches.end('its code has ended')
    }
  }

  isWithin(name: string, id: string): boolean {
    return (this.name === name && this.id === id) || this.#around?.isWithin(name, id) === true
  }

  async join(code: Code): Promise<unknown> {
    try {
      return stored(`result of what joined ${this.name}/${this.id}`, await code(this), this.#runtime.maxPayloadBytes)
    } catch (error) {
      this.#doomed ??= { error }
      throw error
    }
  }

  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result> {
    return this.#branches.call(branch, payload)
  }

  branches(): readonly GrownStep[] {
    return this.#branches.known()
  }

  seen(snapshot: LoadedSaga): void {
    this.#branches.seen(snapshot)
  }
}
