import { DAY } from './clock.ts'
import { ConcordatError, hasCode, said, toError } from './errors.ts'
import { hasMethods, wrongKind } from './option-checks.ts'
import { fromOwnStatement } from './own-statements.ts'
import { isConflict } from './sql-conflicts.ts'
import { SqlError } from './sql-error.ts'
import { fieldOf } from './thrown-values.ts'

/** Maximum age of rows in a query, 1 000 years: PostgreSQL's timestamps do not go back much further. */
export const MAX_AGE_MS: number = 1_000 * 365 * DAY

/** Default schema of every part's tables. */
export const DEFAULT_SCHEMA = 'concordat'

/**
 * The SQL contract: what outbox, inbox, participants and the saga store need from PostgreSQL. Adapters: `core/pg`
 * (node-postgres), `core/pglite` (PGlite, real Postgres in the process).
 *
 * Values are mapped as `pg` maps them: `bigint` columns and counts are returned as strings or bigint-safe numbers, so cast in SQL
 * (`::int`, `::text`) if the type matters; `bytea` is a `Uint8Array`; `jsonb` is parsed.
 */
export interface SqlExecutor {
  /** Runs one statement with `$1`-style parameters. @throws the driver's error, with its SQLSTATE in `code` */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    parameters?: readonly unknown[],
  ): Promise<SqlResult<Row>>
}

/** Result of a statement. */
export interface SqlResult<Row> {
  readonly rows: readonly Row[]
  /** Rows affected by INSERT / UPDATE / DELETE, rows returned by SELECT. */
  readonly rowCount: number
}

/** A statement with parameters, for `SqlTransaction.batch`. */
export interface SqlStatement {
  readonly text: string
  readonly parameters: readonly unknown[]
}

/** Outcome of one of several statements. */
export type SqlOutcome = PromiseSettledResult<SqlResult<Record<string, unknown>>>

/** Statements inside one open transaction. Invalid after the `transaction` callback settled. */
export interface SqlTransaction extends SqlExecutor {
  readonly inTransaction: true
  /**
   * Calls `listener` once after the server confirmed the commit; never after a rollback or an unknown outcome, so it is only
   * suitable for hints. Errors of the listener become a process warning. Absent if another library ends the transaction
   * (`pgTransaction`).
   *
   * `isWhole` is true if no statement of the transaction has rolled back to a savepoint. Otherwise, rows written before the call
   * may be missing although the transaction committed: check the rows before acting on them.
   */
  readonly afterCommit?: ((listener: (isWhole?: boolean) => void) => void) | undefined
  /** Limits set at its start. */
  readonly limits?: TransactionLimits | undefined
  /** Runs several statements without parameters, separated by semicolons, in one round trip. Absent if the driver cannot. */
  readonly script?: ((text: string) => Promise<void>) | undefined
  /**
   * Like `query`, for a statement that is followed by nothing: if the driver can, it sends the commit with it, in one round trip.
   * It may then reject with the error of the commit. Absent if it makes no difference.
   */
  readonly last?: SqlExecutor['query'] | undefined
  /**
   * Runs statements one after the other, in one round trip if the connection can. After one fails, the later ones are not run and
   * reject with 25P02, as if they had been sent one by one. Absent if the driver cannot.
   */
  readonly batch?: ((statements: readonly SqlStatement[]) => Promise<readonly SqlOutcome[]>) | undefined
  /**
   * Set if the transaction ends with `PREPARE TRANSACTION`: its writes are committed later, by another decision. A function if
   * another library controls the transaction, so that the server is asked.
   */
  readonly isPrepared?: true | (() => Promise<boolean>) | undefined
  /**
   * Runs `work` so that `SqlClient.isInTransaction` recognizes this transaction, whatever the context in which it was started.
   */
  readonly within?: (<T>(work: () => T) => T) | undefined
  /**
   * Runs a statement in the driver's own form, with the same checks as `query`, and returns the driver's result: for
   * `pgConnection`. Absent if the driver is not `pg`.
   */
  readonly native?: ((text: string, statement: unknown) => Promise<unknown>) | undefined
}

/**
 * `query` runs a statement in its own transaction, and repeats it while it fails with 40001 (in a database whose
 * `default_transaction_isolation` is not READ COMMITTED), because it then had no effect.
 */
export interface SqlClient extends SqlExecutor {
  /**
   * Set if no other process can use this database (PGlite): a token unique to this client. A lease with another token belongs to
   * a dead process, so there is no need to wait for it.
   */
  readonly exclusive?: string | undefined
  /** Set if the database is only in memory and ends with the process. */
  readonly inMemory?: boolean | undefined
  /**
   * For a database, or a pool, with one connection: tells whether the caller runs inside a `transaction` that is still open.
   * Awaiting a statement outside of that transaction would wait forever, so `query` and `transaction` reject with
   * `core.sql_own_transaction`.
   */
  readonly isInTransaction?: (() => boolean) | undefined
  /** Maximum number of connections, if known. */
  readonly connections?: number | undefined
  /**
   * Runs `work` in one READ COMMITTED transaction: commits when it resolves, rolls back when it rejects. Rejects with the error
   * of `work`, unchanged; a failing rollback never hides it. Rejects if the server did not confirm the outcome (connection lost
   * during COMMIT, or ROLLBACK in response to COMMIT): the work may or may not have been applied.
   * @param limits set with the first round trip, if the client supports it: `tx.limits` then has them
   * @throws SqlCommitError if the server responded to COMMIT with ROLLBACK
   */
  transaction<T>(work: (tx: SqlTransaction) => Promise<T>, limits?: TransactionLimits): Promise<T>
  /**
   * Same as `transaction`, but ends with `PREPARE TRANSACTION`: once it resolves, the work is on disk, invisible to others, and
   * keeps its locks until `COMMIT PREPARED` or `ROLLBACK PREPARED` with the same `gid`, from any connection to this database.
   * `tx` has no `afterCommit`. If the connection is lost, the transaction may or may not be prepared. Absent for PGlite and
   * Kysely, which do not support it.
   * @param gid at most 199 bytes, unique on this server
   * @param limits as for `transaction`, until it is prepared
   * @throws `core.sql_cannot_prepare` if the server cannot prepare this transaction, and could not the next time either
   */
  readonly prepare?:
    | (<T>(gid: string, work: (tx: SqlTransaction) => Promise<T>, limits?: TransactionLimits) => Promise<T>)
    | undefined
}

/** Limits of one transaction, set with its first statement. */
export interface TransactionLimits {
  /** The server ends the transaction if it receives no statement for this time: `idle_in_transaction_session_timeout`, in ms. */
  readonly idleMs?: number | undefined
  /**
   * Calls the work only after the server has responded to `BEGIN`, so that its errors do not mean that the database was
   * unavailable before. Otherwise a driver may send `BEGIN` with the first statement. @default false
   */
  readonly opened?: boolean | undefined
}

/** In an aborted transaction, every statement fails with this code. */
const IN_FAILED_TRANSACTION = '25P02'

/**
 * The server responded to COMMIT with ROLLBACK, because a statement had failed and the error was swallowed. `cause` is the error
 * of that statement, if the client saw it.
 */
export class SqlCommitError extends ConcordatError {
  readonly code = 'core.sql_commit' as const
  /** True if that statement met another transaction: a conflict, a deadlock or a lock that was held. */
  readonly retryable: boolean

  /** @param failures errors of the transaction's statements, in their order */
  constructor(failures: readonly unknown[] = []) {
    const cause = failures.findLast((failure) => !hasCode(failure, IN_FAILED_TRANSACTION))
    const what = cause === undefined ? '' : ` (${said(toError(cause), 'message')})`
    super(
      `COMMIT was answered with ROLLBACK: a statement in the transaction failed${what} and its error was caught. Let it propagate.`,
      cause === undefined ? undefined : { cause },
    )
    this.retryable = isConflict(cause)
  }
}

/** Set to `on` in a transaction that ends with `PREPARE TRANSACTION`, for code that receives it through another library. */
export const PREPARED_SETTING = 'concordat.prepared'

/**
 * Refuses work that proves something about the moment of the commit, such as the token of a lock, in a transaction that is
 * prepared.
 * @throws `core.sql_cannot_prepare`
 */
export async function refusePrepared(
  what: string,
  { isPrepared }: SqlExecutor & Pick<SqlTransaction, 'isPrepared'>,
): Promise<void> {
  if (isPrepared === undefined || (isPrepared !== true && !(await isPrepared()))) return
  throw new SqlError('core.sql_cannot_prepare', {
    message:
      `${what} is called in the transaction of an XA handler, which is prepared now and committed later: by then another holder may ` +
      'have the lock. Make the guarded write in a step, a participant or a TCC participant, whose transaction commits at once',
  })
}

/** Message for a server without prepared transactions, with the remedy. */
export const PREPARING_IS_OFF: string =
  'the server has prepared transactions switched off (max_prepared_transactions = 0): set it to at least as many as may be ' +
  'open at once, such as max_connections, in postgresql.conf, and restart the server'

/** undefined_table, invalid_schema_name, undefined_function, undefined_column: the tables of an older release. */
const MISSING: ReadonlySet<unknown> = new Set(['42P01', '3F000', '42883', '42703'])

/**
 * The error of a statement that only uses a part's own tables: explained if these do not exist, and marked as that of an own
 * statement (`fromOwnStatement`).
 * @param call the call that creates the tables: `outbox.migrate()`
 */
export function explainMissing(error: unknown, schema: string, call: string): unknown {
  if (MISSING.has(fieldOf(error, 'code'))) return new SqlError('core.tables_missing', { schema, call }, error)
  return fromOwnStatement(error)
}

/**
 * Runs a statement that only uses a part's own tables. @throws `core.tables_missing`, otherwise the errors of `SqlExecutor.query`
 */
export type OwnQuery = <Row extends object = Record<string, unknown>>(
  sql: SqlExecutor,
  text: string,
  parameters?: readonly unknown[],
) => Promise<SqlResult<Row>>

/**
 * Returns a function that runs statements on a part's own tables and explains missing tables.
 * @param call the call that creates the tables, such as `outbox.migrate()`
 */
export function ownQuery(schema: string, call: string): OwnQuery {
  return async <Row extends object>(sql: SqlExecutor, text: string, parameters?: readonly unknown[]) => {
    try {
      return await sql.query<Row>(text, parameters)
    } catch (error) {
      throw explainMissing(error, schema, call)
    }
  }
}

/**
 * Checks that it is one of our clients, or fulfils the contract. A bare PGlite has the same two methods with a different
 * `transaction`: it is recognized by its `exec`.
 * @throws TypeError with the path
 */
export function requireSqlClient(path: string, value: unknown): SqlClient {
  const fits = hasMethods(value, ['query', 'transaction']) && !hasMethods(value, ['exec'])
  if (fits) return value as unknown as SqlClient
  throw wrongKind(path, value, 'a SqlClient such as pgClient(pool) or pgliteClient(db)')
}

/**
 * For code that passes statements to others: the client cannot see that they belong to a transaction.
 * @throws `core.sql_own_transaction` if the caller runs inside an open transaction of a database with one connection
 */
export function refuseOwnTransaction(sql: Pick<SqlClient, 'isInTransaction'>): void {
  if (sql.isInTransaction?.() === true) throw new SqlError('core.sql_own_transaction')
}

/** Receives `NOTIFY`. Needs its own connection, without a transaction pooler. */
export interface SqlListener {
  /**
   * Calls `onNotify` with the payload of each notification on `channel`, and with `''` after every reconnect, because
   * notifications sent in between are lost. Does not wait for the server: it connects in the background and retries without a
   * limit.
   * @returns a function that stops listening
   */
  listen(channel: string, onNotify: (payload: string) => void): () => void
  /**
   * Process id of the server at the other end, while connected: when it is no longer in `pg_stat_activity`, neither is this
   * listener. A hint, because a proxy may report another number. Absent: not known.
   */
  readonly backend?: number | undefined
  /** Closes the connection. Idempotent, never rejects. */
  close(): Promise<void>
}

/** Quotes a text for use in SQL text, where a statement takes no parameters. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

const SQL_NAME = 'expected 1 to 63 bytes without NUL'

function isSqlName(name: string): boolean {
  return name.length > 0 && Buffer.byteLength(name) <= 63 && !name.includes('\0')
}

/** Checks the name of a schema. @throws TypeError with the path */
export function requireSqlName(path: string, name: unknown): string {
  if (typeof name === 'string' && isSqlName(name)) return name
  throw new TypeError(`${path}: ${SQL_NAME}, got ${typeof name === 'string' ? JSON.stringify(name) : typeof name}`)
}

/** Quotes a name for use in SQL text. @throws TypeError if it is empty, longer than 63 bytes or contains a NUL */
export function quoteIdentifier(name: string): string {
  if (!isSqlName(name)) throw new TypeError(`SQL name ${JSON.stringify(name)}: ${SQL_NAME}`)
  return `"${name.replaceAll('"', '""')}"`
}

/**
 * A timestamp in whole epoch ms. Depending on its configuration, a driver returns timestamps as texts, or cannot parse them with
 * another `DateStyle`.
 */
export function epochMs(column: string): string {
  return `floor(extract(epoch FROM ${column}) * 1000)::float8`
}
