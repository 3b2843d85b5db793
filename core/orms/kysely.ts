import { hasCode } from '../errors.ts'
import { joinedTransaction } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import { fromOwnStatement } from '../own-statements.ts'
import { type SqlClient, SqlCommitError, type SqlExecutor, type SqlResult, type SqlTransaction } from '../sql.ts'
import { repeatable } from '../sql-retry.ts'
import { connectionAnswered, fromDriver } from '../sql-unavailable.ts'
import { readable } from '../thrown-values.ts'
import { TransactionScope } from '../transaction-scope.ts'

/** The part of `Transaction` (and `Kysely`) that is used. */
export interface KyselyTransaction {
  executeQuery(query: never): Promise<KyselyResult>
  withoutPlugins(): KyselyTransaction
}

/** The part of `Kysely` that is used. */
export interface KyselyDatabase extends KyselyTransaction {
  transaction(): {
    setIsolationLevel(level: 'read committed'): {
      execute<T>(work: (trx: KyselyTransaction) => Promise<T>): Promise<T>
    }
  }
}

interface KyselyResult {
  readonly rows: unknown[]
  readonly numAffectedRows?: bigint | undefined
}

/** A `SqlClient` over a `Kysely` instance. The caller destroys the instance. @throws TypeError if it is not one */
export function kyselyClient(database: KyselyDatabase): SqlClient {
  if (!hasMethods(database, ['executeQuery', 'transaction', 'withoutPlugins'])) {
    throw wrongKind('kyselyClient', database, 'a Kysely: kyselyClient(new Kysely({ dialect }))')
  }
  const statements = new Statements(database)
  return {
    query: (text, parameters) => repeatable(() => statements.query(text, parameters)),
    transaction: (work) => transaction(database, work),
  }
}

/**
 * The caller's own open transaction as a `SqlTransaction`, e.g. for `outbox.add`. Begins and ends nothing. Create it at the start
 * of the callback: it is bound to that transaction, and statements after its end are not run.
 * @throws TypeError if it is not a Kysely transaction
 */
export function kyselyTransaction(trx: KyselyTransaction): SqlTransaction {
  const isOpen = hasMethods(trx, ['executeQuery', 'withoutPlugins']) && 'isTransaction' in trx && trx.isTransaction
  if (isOpen !== true) {
    throw wrongKind(
      'kyselyTransaction',
      trx,
      'the transaction that db.transaction().execute(async (trx) => ...) hands out',
    )
  }
  const statements = new Statements(trx)
  return joinedTransaction((text, parameters) => statements.query(text, parameters), { of: trx })
}

async function transaction<T>(database: KyselyDatabase, work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
  let scope: TransactionScope | undefined
  let failure: { readonly error: unknown } | undefined
  let failed: readonly unknown[] = []
  const plain = new Statements(database)
  const ask: SqlExecutor['query'] = (text, parameters) => plain.query(text, parameters)
  const run = async (trx: KyselyTransaction): Promise<T> => {
    const statements = new Statements(trx)
    scope = new TransactionScope(statements)
    failed = statements.failed
    try {
      const result = await work(scope.tx)
      scope.close()
      if (statements.failed.length > 0) await refuseAborted(statements)
      return result
    } catch (thrown) {
      scope.close()
      failure = { error: readable(thrown) }
      throw failure.error
    }
  }
  try {
    const result = await database.transaction().setIsolationLevel('read committed').execute(run)
    await connectionAnswered(failed, ask)
    scope?.committed()
    return result
  } catch (error) {
    // If a rollback fails, Kysely reports that failure instead of the reason for the rollback.
    if (failure?.error === error) await connectionAnswered(failed, ask)
    throw failure === undefined ? fromOwnStatement(fromDriver(error)) : failure.error
  }
}

/** Kysely does not check the response to COMMIT. In an aborted transaction, any statement fails with 25P02. */
async function refuseAborted(statements: Statements): Promise<void> {
  try {
    await statements.query('SELECT 1')
  } catch (error) {
    throw hasCode(error, '25P02') ? new SqlCommitError(statements.failed) : error
  }
}

class Statements implements SqlExecutor {
  /** Only then can the transaction have been aborted with its error swallowed. */
  readonly failed: unknown[] = []
  readonly #plain: KyselyTransaction

  constructor(database: KyselyTransaction) {
    this.#plain = database.withoutPlugins()
  }

  async query<Row extends object>(text: string, parameters: readonly unknown[] = []): Promise<SqlResult<Row>> {
    try {
      const query = (await import('kysely')).CompiledQuery.raw(text, [...parameters])
      const { rows, numAffectedRows } = await this.#plain.executeQuery(query as never)
      return { rows: rows as Row[], rowCount: Math.max(Number(numAffectedRows ?? 0), rows.length) }
    } catch (error) {
      this.failed.push(error)
      throw fromDriver(error)
    }
  }
}
