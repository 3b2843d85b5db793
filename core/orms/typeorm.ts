import { joinedTransaction, requireActive } from '../joined-transaction.ts'
import { wrongKind } from '../option-checks.ts'
import type { SqlTransaction } from '../sql.ts'

/** The part of TypeORM's `EntityManager` that is used. */
export interface TypeormTransaction {
  readonly queryRunner?:
    | {
        readonly isTransactionActive: boolean
        query(text: string, parameters: unknown[], useStructuredResult: true): Promise<unknown>
      }
    | undefined
}

/**
 * A transaction of TypeORM on PostgreSQL as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await dataSource.transaction(async (manager) => { await outbox.add(typeormTransaction(manager), orderPlaced, order) })
 *
 * Create it at the start of the callback. It is bound to that transaction: after its end, statements are not run and reject with
 * `core.sql_transaction_ended`, or with `core.sql_transaction_missing` if they are queued behind a ROLLBACK.
 * @throws TypeError if the manager is in no transaction
 */
export function typeormTransaction(manager: TypeormTransaction): SqlTransaction {
  const runner = manager?.queryRunner
  if (runner?.isTransactionActive !== true)
    throw wrongKind(
      'typeormTransaction',
      manager,
      'the manager that dataSource.transaction(async (manager) => ...) hands out',
    )
  return joinedTransaction(async (text, parameters) => runner.query(text, [...parameters], true), {
    requireOpen: () => requireActive(runner.isTransactionActive),
  })
}
