/** Global transactions as their callers see them: begun, waited for, and what they throw. */
import type { SqlClient } from '../../core/sql.ts'
import type { Saga } from '../definition/saga.ts'
import { GlobalTransactionCancelled, GlobalTransactionStuck } from '../errors.ts'
import type { SagaKey } from '../store/rows.ts'
import type { Bodies } from './bodies.ts'
import { type GlobalHost, type GlobalTransaction, RunningCode } from './global-transaction.ts'
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
}

export class GlobalTransactions {
  readonly #host: GlobalTransactionsHost
  /** Many wait at once, and each of them looks at its row. */
  readonly #snapshots: Together<SagaKey, Snapshot | undefined>

  constructor(host: GlobalTransactionsHost) {
    this.#host = host
    this.#snapshots = new Together((keys) => host.engine.loadMany(host.sql, keys))
  }

  /** A saga was written here. */
  seen(snapshot: Snapshot): void {
    this.#host.bodies.get(snapshot.row)?.seen(snapshot)
  }

  /**
   * Runs code as a global transaction, and waits until all of it is confirmed or cancelled.
   * @throws what the code threw, when that is why; GlobalTransactionCancelled, GlobalTransactionStuck; as `start` and `outcome`
   */
  async transact(
    definition: Saga,
    options: StartOptions<unknown> & OutcomeOptions,
    code: (global: GlobalTransaction) => unknown,
  ): Promise<unknown> {
    const { starter, runs } = this.#host
    const { name } = definition
    const { id, input, ...patience } = options
    const loaded = runs.definition(definition) ?? definition
    const body = new RunningCode({ ...this.#host, read: (key) => this.#snapshots.get(key) }, loaded, id, code)
    await starter.startCode(definition, { id, input }, body)
    const { status, ...ended } = await createRun<{ readonly code: unknown }>(runs, name, id).outcome(patience)
    if (status === 'completed') return ended.results.code
    const failure = 'failure' in ended ? ended.failure : { code: 'saga.unknown', message: '' }
    const { thrown } = body
    const because = thrown === undefined ? {} : { cause: thrown.error }
    if (status === 'stuck') throw new GlobalTransactionStuck(name, id, failure, because)
    if (thrown?.tooLate === false) throw thrown.error
    throw new GlobalTransactionCancelled(name, id, failure, because)
  }
}
