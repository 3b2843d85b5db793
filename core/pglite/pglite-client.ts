import { newId } from '../ids.ts'
import { hasMethods, wrongKind } from '../options.ts'
import { type SqlClient, SqlCommitError, type SqlResult, type SqlTransaction } from '../sql.ts'
import { TransactionScope } from '../transaction-scope.ts'

interface PgliteResult {
  readonly rows: unknown[]
  readonly affectedRows?: number | undefined
}

interface PgliteExecutor {
  query(text: string, parameters?: unknown[]): Promise<PgliteResult>
}

/** The part of `PGlite` that is used. */
export interface PgliteDatabase extends PgliteExecutor {
  transaction<T>(work: (tx: PgliteExecutor) => Promise<T>): Promise<T>
}

/** A `SqlClient` over a `PGlite` instance; make one per instance. Closing the instance stays with the caller. @throws TypeError */
export function pgliteClient(database: PgliteDatabase): SqlClient {
  if (!hasMethods(database, ['query', 'transaction'])) {
    throw wrongKind('pgliteClient', database, 'a PGlite: pgliteClient(new PGlite())')
  }
  return {
    exclusive: newId(),
    query: (text, parameters) => run(database, text, parameters),
    transaction: (work) => transaction(database, work),
  }
}

async function transaction<T>(database: PgliteDatabase, work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
  let scope: TransactionScope | undefined
  const result = await database.transaction(async (inner) => {
    let failed = false
    const query = <Row extends object>(text: string, parameters?: readonly unknown[]): Promise<SqlResult<Row>> =>
      run<Row>(inner, text, parameters).catch((error: unknown) => {
        failed = true
        throw error
      })
    scope = new TransactionScope({ query })
    const outcome = await work(scope.tx).finally(() => scope?.close())
    // Only a statement that failed, and whose error was swallowed, can have left it aborted.
    if (failed) await refuseAborted(inner)
    return outcome
  })
  scope?.committed()
  return result
}

/** In an aborted transaction any statement fails with 25P02, where COMMIT would silently roll back. */
async function refuseAborted(inner: PgliteExecutor): Promise<void> {
  try {
    await inner.query('SELECT 1')
  } catch {
    throw new SqlCommitError()
  }
}

async function run<Row extends object>(
  executor: PgliteExecutor,
  text: string,
  parameters?: readonly unknown[],
): Promise<SqlResult<Row>> {
  const result = await executor.query(text, parameters === undefined ? undefined : [...parameters])
  return { rows: result.rows as Row[], rowCount: Math.max(result.affectedRows ?? 0, result.rows.length) }
}
