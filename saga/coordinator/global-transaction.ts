/**
 * A transaction that is just code, in the process that runs the code. Each call of a branch is durable before it leaves;
 * that the code has returned is durable before the first branch is confirmed. What becomes of it after that, and when this
 * process dies, is the coordinator's, as with any saga.
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
  /** The definition's name. */
  readonly name: string
  readonly id: string
  /**
   * Aborts when the transaction is to be cancelled, its time is up, or its lease is lost: nothing more can be called. Where the code
   * runs elsewhere, and this one has joined it, that is seen within `pollMs`.
   */
  readonly signal: AbortSignal
  readonly log: ContextLogger
  /**
   * Calls `try` of a branch and gives what it returned. Several calls may be under way at once; one that is not awaited is
   * part of the transaction all the same, but whether its refusal cancels the others depends on when it comes: await each.
   * @throws BranchRefused when the participant said no: it did nothing, and the code may go on without it; `saga.branch_failed` when
   * the outcome is not known: then all is cancelled, whatever the code does; `saga.transaction_ended` when it is too late
   */
  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result>
}

export type Code = (global: GlobalTransaction) => unknown

interface Thrown {
  readonly error: unknown
  /** True: the transaction could take no more calls then, so this is not why it is cancelled. */
  readonly tooLate: boolean
}

/** A global transaction as code within it sees it, and what may be around that. */
export interface AroundCode extends GlobalTransaction {
  /** `undefined`: the transaction cannot be passed on. */
  readonly ref: TransactionRef | undefined
  /** True for this transaction and those around it. */
  isWithin(name: string, id: string): boolean
  /** Runs code as part of this transaction. When it throws, the transaction can no longer be confirmed. */
  join(code: Code): Promise<unknown>
}

const storage = endingContext<AroundCode>()

/** The global transaction whose code is running here, over every `await`; `undefined` outside of one. */
export function currentGlobalTransaction(): GlobalTransaction | undefined {
  return storage.getStore()
}

/** Runs `work` as if no global transaction were around it (what others call "not supported"). */
export function outsideGlobalTransaction<T>(work: () => T): T {
  return storage.exit(work)
}

/** The transaction of the calling code, for one that joins it. */
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
  /** Context of the `globalTransaction` call: its locks and spans apply to the code, too. */
  readonly #inside: <T>(work: () => T) => T = AsyncLocalStorage.snapshot()
  /** The transaction whose code begins this one. */
  readonly #around: AroundCode | undefined = runningCode()
  #log: ContextLogger | undefined
  /** Exception of the code. */
  #thrown: Thrown | undefined
  /** Why it must not be confirmed although the code returned: something that had joined it failed. */
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

  /** Exception of the code, if there was one. */
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
