/** Global transactions as their callers use them: starting, waiting, and errors. */

import type { Saga } from '../definition/saga-definition-types.ts'
import { GlobalTransactionError } from '../global/errors.ts'
import { failureOf } from '../machine/state.ts'
import { type AnyHeaders, readTransaction } from '../wire/transaction-header.ts'
import type { EventApplier } from './event-applier.ts'
import { type GlobalTransaction, RunningCode, withinTransaction } from './global-transaction.ts'
import { JoinedTransaction, responseFailure } from './joined-global-transaction.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { OutcomeOptions } from './outcome-waiters.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { createRun, type RunSource } from './saga-run.ts'
import type { Starter, StartOptions } from './starter.ts'

export class GlobalTransactions {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier
  readonly #starter: Starter
  readonly #runs: RunSource

  constructor(runtime: CoordinatorRuntime, applier: EventApplier, starter: Starter, runs: RunSource) {
    this.#runtime = runtime
    this.#applier = applier
    this.#starter = starter
    this.#runs = runs
  }

  /** Records a saga that was written here. */
  seen(snapshot: LoadedSaga): void {
    this.#runtime.runningTransactions.seen(snapshot)
  }

  /**
   * Runs code in the global transaction that the headers name, whose own code runs elsewhere; without such headers outside of
   * any.
   * @throws `saga.transaction_header`, `saga.transaction_not_here`; the error of `work`
   */
  async inherit<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T> {
    const ref = readTransaction(headers)
    if (ref === undefined) return work()
    const { service } = this.#runtime
    const definition = this.#runtime.definition({ name: ref.name, version: 1 })
    if (ref.service !== service || definition?.branches === undefined)
      throw new GlobalTransactionError('saga.transaction_not_here', {
        owner: ref.service,
        transaction: ref.name,
        service,
      })
    const joined = new JoinedTransaction(this.#runtime, this.#applier, definition, ref)
    try {
      const result = await withinTransaction(joined, work)
      await joined.allAsked()
      const failure = result instanceof Response ? responseFailure(result.status) : undefined
      if (failure !== undefined) await joined.turnBack(failure)
      return result
    } catch (error) {
      await joined.turnBack(error)
      throw error
    } finally {
      joined.leave()
    }
  }

  /**
   * Runs code as a global transaction, and waits until all of it is confirmed or cancelled.
   * @throws the error of the code, if it is the reason; `saga.transaction_cancelled`, `saga.transaction_stuck`; the errors of
   * `start` and `outcome`
   */
  async transact(
    definition: Saga,
    options: StartOptions<unknown> & OutcomeOptions,
    code: (global: GlobalTransaction) => unknown,
    shardMark: string | undefined,
  ): Promise<unknown> {
    const { name } = definition
    const { id, input, ...patience } = options
    const loaded = this.#runtime.definition(definition) ?? definition
    const body = new RunningCode(this.#runtime, this.#applier, { definition: loaded, id }, code)
    await this.#starter.startCode(definition, { id, input }, body, shardMark)
    const run = createRun<{ readonly code: unknown }>(this.#runs, name, id)
    const { status, ...ended } = await run.outcome(patience)
    if (status === 'completed') return ended.results.code
    const failure = 'failure' in ended ? ended.failure : { code: 'saga.unknown', message: '' }
    const { thrown } = body
    const fields = { transaction: name, id, failure }
    if (status === 'stuck') {
      // The outcome says why it turned back. An operator who was quicker leaves that.
      const stuckOn = failureOf(await run.report()) ?? failure
      throw new GlobalTransactionError('saga.transaction_stuck', { ...fields, failure: stuckOn }, thrown?.error)
    }
    if (thrown?.tooLate === false) throw thrown.error
    throw new GlobalTransactionError('saga.transaction_cancelled', fields, thrown?.error)
  }
}
