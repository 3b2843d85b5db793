/** Global transactions as their callers see them: begun, waited for, and what they throw. */

import type { Logger } from '../../core/logger.ts'
import type { SqlClient } from '../../core/sql.ts'
import type { Saga } from '../definition/saga.ts'
import { GlobalTransactionError } from '../global/errors.ts'
import type { SagaKey } from '../store/rows.ts'
import { type AnyHeaders, readTransaction } from '../wire/transaction-header.ts'
import type { Bodies } from './bodies.ts'
import { type GlobalHost, type GlobalTransaction, RunningCode, withinTransaction } from './global-transaction.ts'
import { JoinedTransaction } from './joined-transaction.ts'
import type { Snapshot } from './plan.ts'
import { createRun, type RunHost } from './run.ts'
import type { Starter, StartOptions } from './starter.ts'
import { Together } from './together.ts'
import type { OutcomeOptions } from './watch.ts'

export interface GlobalTransactionsHost extends Omit<GlobalHost, 'read'> {
  readonly sql: SqlClient
  readonly bodies: Bodies
  readonly starter: Starter
  readonly runs: RunHost
  readonly instance: string
  readonly logger: Logger
}

export class GlobalTransactions {
  readonly #host: GlobalTransactionsHost
  /** Many wait at once, and each of them looks at its row. */
  readonly #snapshots: Together<SagaKey, Snapshot | undefined>

  constructor(host: GlobalTransactionsHost) {
    this.#host = host
    this.#snapshots = new Together(host.sql, (keys) => host.engine.loadMany(host.sql, keys))
  }

  /** A saga was written here. */
  seen(snapshot: Snapshot): void {
    this.#host.bodies.seen(snapshot)
  }

  /**
   * Runs code in the global transaction that the headers name, whose own code runs elsewhere; without them as it is.
   * @throws `saga.transaction_header`, `saga.transaction_not_here`; what `work` throws
   */
  async inherit<T>(headers: AnyHeaders, work: () => T | Promise<T>): Promise<T> {
    const ref = readTransaction(headers)
    if (ref === undefined) return work()
    const { service, runs } = this.#host
    const definition = runs.definition({ name: ref.name, version: 1 })
    if (ref.service !== service || definition?.branches === undefined)
      throw new GlobalTransactionError('saga.transaction_not_here', {
        owner: ref.service,
        transaction: ref.name,
        service,
      })
    const read = (key: SagaKey): Promise<Snapshot | undefined> => this.#snapshots.get(key)
    const joined = new JoinedTransaction({ ...this.#host, read }, definition, ref)
    try {
      const result = await withinTransaction(joined, work)
      await joined.allAsked()
      return result
    } finally {
      joined.leave()
    }
  }

  /**
   * Runs code as a global transaction, and waits until all of it is confirmed or cancelled.
   * @throws what the code threw, when that is why; `saga.transaction_cancelled`, `saga.transaction_stuck`; as `start` and `outcome`
   */
  async transact(
    definition: Saga,
    options: StartOptions<unknown> & OutcomeOptions,
    code: (global: GlobalTransaction) => unknown,
    home: string | undefined,
  ): Promise<unknown> {
    const { starter, runs } = this.#host
    const { name } = definition
    const { id, input, ...patience } = options
    const loaded = runs.definition(definition) ?? definition
    const body = new RunningCode({ ...this.#host, read: (key) => this.#snapshots.get(key) }, loaded, id, code)
    await starter.startCode(definition, { id, input }, body, home)
    const { status, ...ended } = await createRun<{ readonly code: unknown }>(runs, name, id).outcome(patience)
    if (status === 'completed') return ended.results.code
    const failure = 'failure' in ended ? ended.failure : { code: 'saga.unknown', message: '' }
    const { thrown } = body
    const fields = { transaction: name, id, failure }
    if (status === 'stuck') throw new GlobalTransactionError('saga.transaction_stuck', fields, thrown?.error)
    if (thrown?.tooLate === false) throw thrown.error
    throw new GlobalTransactionError('saga.transaction_cancelled', fields, thrown?.error)
  }
}
