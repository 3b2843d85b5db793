import { isAborted } from '../aborted-transaction.ts'
import { turnsOf } from '../event-loop-turns.ts'
import { newId } from '../ids.ts'
import { isInTransactionOf, OpenTransactionContext } from '../open-transactions.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import { refuseOwnTransaction, type SqlClient, SqlCommitError, type SqlResult, type SqlTransaction } from '../sql.ts'
import { connectionAnswered } from '../sql-unavailable.ts'
import { readable } from '../thrown-values.ts'
import { TransactionScope } from '../transaction-scope.ts'
import { connectionOf, type PgliteExecutor } from './protocol-connection.ts'

/** The part of `PGlite` that is used. */
export interface PgliteDatabase extends PgliteExecutor {
  /** Its data directory; none if it is in memory. */
  readonly dataDir?: string | undefined
  transaction<T>(work: (tx: PgliteExecutor) => Promise<T>): Promise<T>
}

/** A `SqlClient` over a `PGlite` instance; create one per instance. The caller closes the instance. @throws TypeError */
export function pgliteClient(database: PgliteDatabase): SqlClient {
  if (!hasMethods(database, ['query', 'transaction'])) {
    throw wrongKind('pgliteClient', database, 'a PGlite: pgliteClient(new PGlite())')
  }
  const connecting = connectionOf(database)
  const connection = async (): Promise<Pick<PgliteDatabase, 'query' | 'transaction'>> => (await connecting) ?? database
  const isInTransaction = (): boolean => isInTransactionOf(database)
  return {
    exclusive: newId(),
    inMemory: database.dataDir === undefined || database.dataDir.startsWith('memory:'),
    isInTransaction,
    async query(text, parameters) {
      refuseOwnTransaction({ isInTransaction })
      return run(await connection(), text, parameters)
    },
    async transaction(work) {
      refuseOwnTransaction({ isInTransaction })
      const context = new OpenTransactionContext(database)
      return transaction(await connection(), context, (tx) => context.run(() => work(tx)))
    },
  }
}

async function transaction<T>(
  connection: Pick<PgliteDatabase, 'query' | 'transaction'>,
  context: OpenTransactionContext,
  work: (tx: SqlTransaction) => Promise<T>,
): Promise<T> {
  let scope: TransactionScope | undefined
  const errors: unknown[] = []
  const inside = async (inner: PgliteExecutor): Promise<T> => {
    /** True if the last statement failed; `undefined` without one. */
    let hasFailed: boolean | undefined
    const noted = (error: unknown): never => {
      errors.push(error)
      throw error
    }
    const last = inner.last?.bind(inner)
    scope = new TransactionScope({
      query: (text, parameters) => run<never>(inner, text, parameters).catch(noted),
      ...(last !== undefined && {
        last: (text: string, parameters?: readonly unknown[]) => {
          hasFailed = true
          return run<never>({ query: last }, text, parameters).then((result) => {
            hasFailed = false
            return result
          }, noted)
        },
      }),
      ...(inner.exec !== undefined && { script: async (text: string) => void (await inner.exec?.(text)) }),
      within: context.within,
    })
    const outcome = await within(scope, work)
    if (hasFailed === true) throw new SqlCommitError(errors)
    // Only a failed statement whose error was swallowed can have left it aborted.
    const mayBeAborted = errors.length > 0 && hasFailed === undefined
    if (mayBeAborted && (await isAborted(inner))) throw new SqlCommitError(errors)
    return outcome
  }
  try {
    const result = await connection.transaction(inside)
    scope?.committed()
    return result
  } finally {
    await connectionAnswered(errors, (statement) => run(connection, statement))
  }
}

async function within<T>(scope: TransactionScope, work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
  try {
    return await work(scope.tx)
  } catch (thrown) {
    throw readable(thrown)
  } finally {
    scope.close()
  }
}

/**
 * PGlite responds in microtasks: without occasional turns, a loop of statements would block the event loop. The caller waits for
 * the turn after its statement, not before: statements reach the database in the order of the calls.
 */
const turns = turnsOf()

async function run<Row extends object>(
  executor: Pick<PgliteExecutor, 'query'>,
  text: string,
  parameters?: readonly unknown[],
): Promise<SqlResult<Row>> {
  try {
    const result = await executor.query(text, parameters === undefined ? undefined : [...parameters])
    return { rows: result.rows as Row[], rowCount: Math.max(result.affectedRows ?? 0, result.rows.length) }
  } finally {
    if (turns.isDue()) await turns.next()
  }
}
