import { DAY } from './clock.ts'
import { ConcordatError, hasCode, said, toError } from './errors.ts'
import { hasMethods, wrongKind } from './option-checks.ts'
import { fromOwnStatement } from './own-statements.ts'
import { isConflict } from './sql-conflicts.ts'
import { SqlError } from './sql-error.ts'
import { fieldOf } from './thrown-values.ts'

/** The longest age of rows that is asked for, 1 000 years: PostgreSQL has no moment much further back. */
export const MAX_AGE_MS: number = 1_000 * 365 * DAY

/** The schema of every part's tables unless another is given. */
export const DEFAULT_SCHEMA = 'concordat'

/**
 * The SQL contract: what outbox, inbox, participants and the saga store need of a PostgreSQL. Adapters: `core/pg`
 * (node-postgres), `core/pglite` (PGlite, real Postgres in the process).
 *
 * Values travel as `pg` maps them: `bigint` columns and counts come back as strings or bigint-safe numbers, so cast in
 * SQL (`::int`, `::text`) where the type matters; `bytea` is a `Uint8Array`; `jsonb` is parsed.
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
  /** Rows touched by INSERT / UPDATE / DELETE, rows returned by SELECT. */
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
   * Calls `listener` once after the server confirmed the commit; never when it rolled back or the outcome is unknown, so
   * only good for hints; what it throws becomes a process warning. Absent when the transaction's end is not ours to see (`pgTransaction`).
   *
   * `isWhole` is true when no statement of the transaction has rolled back to a savepoint. Otherwise what was written before the call may be gone
   * though the transaction committed: look at the rows before acting on them.
   */
  readonly afterCommit?: ((listener: (isWhole?: boolean) => void) => void) | undefined
  /** Limits set at its start. */
  readonly limits?: TransactionLimits | undefined
  /** Runs several statements without parameters, divided by semicolons, in one round trip. Absent where the driver cannot. */
  readonly script?: ((text: string) => Promise<void>) | undefined
  /**
   * As `query`, of a statement behind which nothing comes: where the driver can, the commit goes out with it, in one round trip. What it
   * rejects with may then be what the commit was answered with. Absent where it makes no difference.
   */
  readonly last?: SqlExecutor['query'] | undefined
  /**
   * Runs statements one after the other, in one round trip where the connection can. When one fails, those behind it are not run and reject
   * with 25P02, as they would had they been asked one by one. Absent where the driver cannot.
   */
  readonly batch?: ((statements: readonly SqlStatement[]) => Promise<readonly SqlOutcome[]>) | undefined
  /**
   * Set when it ends with `PREPARE TRANSACTION`: what it writes is committed later, by another decision. A function where another
   * library holds the transaction, so that the server is asked.
   */
  readonly isPrepared?: true | (() => Promise<boolean>) | undefined
  /** Runs `work` where `SqlClient.isInTransaction` knows this transaction, in whatever context it was begun. */
  readonly within?: (<T>(work: () => T) => T) | undefined
  /**
   * Runs a statement as the driver takes it, with the same checks as `query`, and gives what the driver gives: for `pgConnection`.
   * Absent where the driver is not `pg`.
   */
  readonly native?: ((text: string, statement: unknown) => Promise<unknown>) | undefined
}

/**
 * `query` runs a statement in a transaction of its own, again while it fails with 40001 (a database whose
 * `default_transaction_isolation` is not READ COMMITTED): then it has done nothing.
 */
export interface SqlClient extends SqlExecutor {
  /**
   * Set when no other process can use this database (PGlite): a token unique to this client. A lease that carries
   * another token belongs to a process that is gone, and need not be waited for.
   */
  readonly exclusive?: string | undefined
  /** Set when nothing is on a disk: a database that is gone with the process. */
  readonly inMemory?: boolean | undefined
  /**
   * On a database, or a pool, with one connection: whether the caller runs inside a `transaction` that is still open. A statement
   * outside of it, awaited in there, would wait forever, so `query` and `transaction` reject with `core.sql_own_transaction`.
   */
  readonly isInTransaction?: (() => boolean) | undefined
  /** How many connections there are at most, if that is known. */
  readonly connections?: number | undefined
  /**
   * Runs `work` in one READ COMMITTED transaction: commits when it resolves, rolls back when it rejects. The rejection
   * is handed on unchanged; a failing rollback never hides it. An outcome the server did not confirm (connection lost
   * around COMMIT, or a COMMIT answered with ROLLBACK) rejects: it may or may not have been applied.
   * @param limits set with the first round trip, if the client can: `tx.limits` says so
   * @throws SqlCommitError when COMMIT was answered with ROLLBACK
   */
  transaction<T>(work: (tx: SqlTransaction) => Promise<T>, limits?: TransactionLimits): Promise<T>
  /**
   * Same as `transaction`, but ends with `PREPARE TRANSACTION`: once it resolves the work is on disk, invisible to others, and holds its
   * locks until `COMMIT PREPARED` or `ROLLBACK PREPARED` with the same `gid`, from any connection to this database. `tx` has no
   * `afterCommit`. If the connection is lost, the transaction may or may not be prepared. Absent on PGlite and Kysely, which cannot do
   * it.
   * @param gid at most 199 bytes, in use nowhere on this server
   * @param limits as of `transaction`, until it is prepared
   * @throws `core.sql_cannot_prepare` when the server does not prepare this transaction, and would not the next time
   */
  readonly prepare?:
    | (<T>(gid: string, work: (tx: SqlTransaction) => Promise<T>, limits?: TransactionLimits) => Promise<T>)
    | undefined
}

/** Limits of one transaction, set with its first statement. */
export interface TransactionLimits {
  /** The server ends it when it has got no statement for so long: `idle_in_transaction_session_timeout`, in ms. */
  readonly idleMs?: number | undefined
  /**
   * The work is called when the server has answered `BEGIN`, so what it throws is not that the database was away before. Else a driver
   * may send `BEGIN` with the first statement. @default false
   */
  readonly opened?: boolean | undefined
}

/** In an aborted transaction every statement fails with this code. */
const IN_FAILED_TRANSACTION = '25P02'

/**
 * The server turned COMMIT into ROLLBACK because a statement had failed and the error was swallowed. `cause` is the error of
 * that statement, if the client saw it.
 */
export class SqlCommitError extends ConcordatError {
  readonly code = 'core.sql_commit' as const
  /** True when that statement met another transaction: a conflict, a deadlock or a lock that was not free. */
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

/** Set to `on` in a transaction that ends with `PREPARE TRANSACTION`, for those who get it by way of another library. */
export const PREPARED_SETTING = 'concordat.prepared'

/**
 * Refuses what proves something about the moment of the commit, such as the token of a lock, in a transaction that is prepared.
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
 * The error of a statement that uses nothing but a part's own tables, explained when these do not exist, and marked as of an own
 * statement (`fromOwnStatement`).
 * @param call what makes the tables: `outbox.migrate()`
 */
export function explainMissing(error: unknown, schema: string, call: string): unknown {
  if (MISSING.has(fieldOf(error, 'code'))) return new SqlError('core.tables_missing', { schema, call }, error)
  return fromOwnStatement(error)
}

/** Runs a statement that uses nothing but a part's own tables. @throws `core.tables_missing`, else as `SqlExecutor.query` */
export type OwnQuery = <Row extends object = Record<string, unknown>>(
  sql: SqlExecutor,
  text: string,
  parameters?: readonly unknown[],
) => Promise<SqlResult<Row>>

/**
 * Returns a function that runs statements on a part's own tables, and explains missing tables.
 * @param call the call that makes the tables, such as `outbox.migrate()`
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
 * Checks that it is one of our clients, or written to the contract. A bare PGlite has the same two methods, with
 * another `transaction`: it is told by its `exec`.
 * @throws TypeError naming the path
 */
export function requireSqlClient(path: string, value: unknown): SqlClient {
  const fits = hasMethods(value, ['query', 'transaction']) && !hasMethods(value, ['exec'])
  if (fits) return value as unknown as SqlClient
  throw wrongKind(path, value, 'a SqlClient such as pgClient(pool) or pgliteClient(db)')
}

/**
 * For code that passes statements to others to run: the client cannot see that they belong to a transaction.
 * @throws `core.sql_own_transaction` when the caller runs inside an open transaction of a database with one connection
 */
export function refuseOwnTransaction(sql: Pick<SqlClient, 'isInTransaction'>): void {
  if (sql.isInTransaction?.() === true) throw new SqlError('core.sql_own_transaction')
}

/** Hears `NOTIFY`. Needs a connection of its own that no transaction pooler sits on. */
export interface SqlListener {
  /**
   * Calls `onNotify` with the payload of each notification on `channel`, and with `''` after every reconnect, because what
   * was sent in between is lost. Does not wait for the server: it connects in the background and retries forever.
   * @returns stops listening
   */
  listen(channel: string, onNotify: (payload: string) => void): () => void
  /**
   * The process of the server at the other end, while there is a connection: when it is gone from `pg_stat_activity`, so
   * is this listener. A hint, for a proxy may tell another number. Absent: not known.
   */
  readonly backend?: number | undefined
  /** Ends the connection. Idempotent, never rejects. */
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

/** Checks the name of a schema. @throws TypeError naming the path */
export function requireSqlName(path: string, name: unknown): string {
  if (typeof name === 'string' && isSqlName(name)) return name
  throw new TypeError(`${path}: ${SQL_NAME}, got ${typeof name === 'string' ? JSON.stringify(name) : typeof name}`)
}

/** Quotes a name for use in SQL text. @throws TypeError when it is empty, over 63 bytes or holds a NUL */
export function quoteIdentifier(name: string): string {
  if (!isSqlName(name)) throw new TypeError(`SQL name ${JSON.stringify(name)}: ${SQL_NAME}`)
  return `"${name.replaceAll('"', '""')}"`
}

/** An instant in whole epoch ms. A driver may hand over timestamps as its user likes: as texts, or unread where `DateStyle` is another. */
export function epochMs(column: string): string {
  return `floor(extract(epoch FROM ${column}) * 1000)::float8`
}
