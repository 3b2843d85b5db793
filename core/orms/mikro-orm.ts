import { joinedTransaction } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import type { SqlTransaction } from '../sql.ts'

/** The part of MikroORM's `EntityManager` that is used: it returns a Kysely transaction. */
export interface MikroOrmTransaction {
  getTransactionContext(): unknown
}

interface Executor {
  withoutPlugins(): Executor
  executeQuery(query: never): Promise<{ readonly rows: object[]; readonly numAffectedRows?: bigint }>
}

/**
 * A transaction of MikroORM on PostgreSQL as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await em.transactional(async (em) => { await outbox.add(mikroOrmTransaction(em), orderPlaced, order) })
 *
 * Create it at the start of the callback. It is bound to that transaction: after its end, statements are not run and reject with
 * `core.sql_transaction_missing`. Changes that the manager has not written yet are written by its `flush`.
 * @throws TypeError if the manager is in no transaction
 */
export function mikroOrmTransaction(em: MikroOrmTransaction): SqlTransaction {
  const trx = hasMethods(em, ['getTransactionContext']) ? em.getTransactionContext() : undefined
  if (!hasMethods(trx, ['executeQuery', 'withoutPlugins']))
    throw wrongKind('mikroOrmTransaction', em, 'the manager that em.transactional(async (em) => ...) hands out')
  const plain = (trx as unknown as Executor).withoutPlugins()
  const run = async (sql: string, parameters: readonly unknown[]): Promise<unknown> => {
    const query = { sql, parameters, query: { kind: 'RawNode', sqlFragments: [sql], parameters: [] }, queryId: ID }
    const { rows, numAffectedRows } = await plain.executeQuery(query as never)
    return { rows, rowCount: Math.max(Number(numAffectedRows ?? 0), rows.length) }
  }
  return joinedTransaction(run, { of: trx })
}

/** Plugins identify queries by it; there are none. */
const ID = Object.freeze({ queryId: 'concordat' })
