import { wrongKind } from '../options.ts'
import type { SqlTransaction } from '../sql.ts'
import { joined, requireActive } from './joined.ts'

/** The part of `EntityManager` of TypeORM that is used. */
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
 * After the transaction its statements reject with `SqlTransactionEnded`.
 * @throws TypeError when the manager is in no transaction
 */
export function typeormTransaction(manager: TypeormTransaction): SqlTransaction {
  const runner = manager?.queryRunner
  if (runner?.isTransactionActive !== true)
    throw wrongKind(
      'typeormTransaction',
      manager,
      'the manager that dataSource.transaction(async (manager) => ...) hands out',
    )
  return joined(
    async (text, parameters) => runner.query(text, [...parameters], true),
    () => requireActive(runner.isTransactionActive),
  )
}
