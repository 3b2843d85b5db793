/**
 * A global transaction whose code runs in another process, as seen by code that was called from there. This code can add branches
 * until the transaction is decided, which happens in the other process. If joined code fails, the whole transaction is cancelled.
 * The cancellation is durable before the caller receives the error, unless the database is unavailable or the connection is lost.
 */

import { randomUUID } from 'node:crypto'
import { lastingContext } from '../../core/async-contexts.ts'
import { backoffDelayMs } from '../../core/backoff.ts'
import { toError } from '../../core/errors.ts'
import { type ContextLogger, withFields } from '../../core/logger.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import type { Branch } from '../global/definition.ts'
import { stored } from '../json.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { StepFailure } from '../machine/state.ts'
import type { TransactionRef } from '../wire/transaction-header.ts'
import { BranchTryCalls } from './branch-try-calls.ts'
import type { EventApplier } from './event-applier.ts'
import type { AroundCode, Code } from './global-transaction.ts'
import { describeError, storable } from './outcome-to-event.ts'
import type { JoinedCode } from './running-global-transactions.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { isUnwritable } from './write-fallbacks.ts'

/** Number of writes after which the outcome is unknown; the database has then been unavailable for about ten seconds. */
const MAX_WRITES = 10
const WRITE = { initialMs: 50, factor: 2, maxMs: 2_000, jitter: 0.2 } as const

/** Returns an error for a response whose status says that its handler failed; `undefined` for any other response. */
export function responseFailure(status: number): Error | undefined {
  return status < 500 ? undefined : new Error(`the response has the status ${status}`)
}

export class JoinedTransaction implements AroundCode {
  readonly name: string
  readonly id: string
  readonly ref: TransactionRef
  readonly log: ContextLogger
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #branches: BranchTryCalls
  readonly #here: JoinedCode
  /** Aborts when the outcome of the transaction is no longer needed. */
  readonly #left = new AbortController()
  #isFollowing = false
  /** Running joined code, and its unanswered calls. */
  #uses = 0

  constructor(runtime: CoordinatorRuntime, applier: EventApplier, definition: Saga, ref: TransactionRef) {
    const { name, id, birth } = ref
    this.name = name
    this.id = id
    this.ref = ref
    this.log = withFields(runtime.logger, { saga: name, id })
    this.#runtime = runtime
    this.#applier = applier
    // Other callers of this transaction never use these names for their calls.
    const prefix = `j${randomUUID().slice(0, 13).replace('-', '')}.`
    this.#branches = new BranchTryCalls(runtime, applier, { definition, id, prefix, birth, log: () => this.log })
    this.#here = {
      seen: (snapshot) => this.#branches.seen(snapshot),
      close: () => this.#branches.end('the coordinator of the joined code is closed'),
    }
    this.#enter()
  }

  /**
   * Between calls this process does not read the transaction. Reading this signal starts a poll every `pollMs`, until `leave`.
   */
  get signal(): AbortSignal {
    if (!this.#isFollowing) {
      this.#isFollowing = true
      void lastingContext()(() => this.#follow())
    }
    return this.#branches.signal
  }

  /** Ends the joined code's part. */
  leave(): void {
    this.#left.abort()
    this.#exit()
  }

  #enter(): void {
    if (this.#uses++ === 0) this.#runtime.runningTransactions.join(this.ref.birth, this.#here)
  }

  #exit(): void {
    if (--this.#uses === 0) this.#runtime.runningTransactions.leave(this.ref.birth, this.#here)
  }

  call<In, Result>(branch: Branch<In, Result>, payload: NoInfer<In>): Promise<Result> {
    this.#enter()
    const called = this.#branches.call(branch, payload).finally(() => this.#exit())
    // Same as for a branch that is not awaited in the process with the transaction's code.
    called.catch(() => {})
    return called
  }

  isWithin(name: string, id: string): boolean {
    return this.name === name && this.id === id
  }

  async join(code: Code): Promise<unknown> {
    try {
      const result = stored(
        `result of what joined ${this.name}/${this.id}`,
        await code(this),
        this.#runtime.maxPayloadBytes,
      )
      await this.#branches.allAsked()
      return result
    } catch (error) {
      await this.turnBack(error)
      throw error
    }
  }

  /** Resolves when all calls that were made are durable. */
  allAsked(): Promise<void> {
    return this.#branches.allAsked()
  }

  async #follow(): Promise<void> {
    const { clock, pollMs, loader } = this.#runtime
    const { name, id, birth } = this.ref
    const stop = AbortSignal.any([this.#left.signal, this.#branches.signal])
    while (!stop.aborted) {
      try {
        const found = await loader.loadShared({ name, id })
        if (found?.row.birth === birth) this.#branches.seen(found)
        else this.#branches.end('it is not there any more')
      } catch (error) {
        this.log.warn({ err: toError(error) }, 'global transaction not read, trying again')
      }
      await clock.sleep(pollMs, stop).catch(() => {})
    }
  }

  /**
   * Cancels the transaction, unless it is decided. If the database accepts none of ten writes, the transaction is not cancelled
   * here: if its own code ignores the error and returns, it is confirmed.
   */
  async turnBack(error: unknown): Promise<void> {
    const { name, id, birth } = this.ref
    const { clock } = this.#runtime
    let failure = describeError(error)
    for (let tries = 1; ; tries++) {
      try {
        await this.#applier.apply({ name, id }, this.#cancelled(failure), { birth })
        return
      } catch (cause) {
        // The database's encoding may lack characters of the error message.
        if (isUnwritable(cause)) failure = storable(failure)
        const fields = { err: toError(cause), tries }
        this.log.error(fields, 'that what joined a global transaction failed is not written down')
        if (tries === MAX_WRITES) return
        await clock.sleep(backoffDelayMs(WRITE, tries, Math.random()))
      }
    }
  }

  #cancelled({ code, message }: StepFailure): SagaEvent {
    const reason = `what joined it failed with ${code}: ${message}`
    return { type: 'operator', action: { do: 'cancel' }, by: `joined ${this.#runtime.instance}`, reason }
  }
}
