/**
 * `SqlClient` on node-postgres. The caller passes the pool; only the methods named here are used. The pool's `error` event needs
 * a listener, otherwise an idle connection that dies ends the process: `pgClient` adds one.
 *
 * Give the pool time limits: `new pg.Pool({ connectionTimeoutMillis: 10_000, query_timeout: 30_000, keepAlive: true })`. `pg` has
 * none by default, and then waits for a server that froze or vanished until TCP gives up.
 */

import { hasCode, toError } from '../errors.ts'
import { joinedTransaction } from '../joined-transaction.ts'
import { checkLogger, type Logger } from '../logger.ts'
import { isInTransactionOf, OpenTransactionContext } from '../open-transactions.ts'
import { hasMethods, optionNames, refuseUnknown, requireBoolean, wrongKind } from '../option-checks.ts'
import { fromOwnStatement, isGivenUpByHandler } from '../own-statements.ts'
import {
  PREPARING_IS_OFF,
  quoteLiteral,
  refuseOwnTransaction,
  type SqlClient,
  SqlCommitError,
  type SqlTransaction,
  type TransactionLimits,
} from '../sql.ts'
import { SqlError } from '../sql-error.ts'
import { repeatable } from '../sql-retry.ts'
import { fromDriver, throwFromConnecting, throwFromDriver } from '../sql-unavailable.ts'
import { readable } from '../thrown-values.ts'
import { outlivesTransaction } from '../transaction-control.ts'
import { type ScopedExecutor, TransactionScope } from '../transaction-scope.ts'
import { EarlyTransactionEnd } from './early-transaction-end.ts'
import { RoundTrips } from './round-trips.ts'
import { type PgConnection, run } from './run-statement.ts'
import { StatementFailures } from './statement-failures.ts'
import { StatementNames } from './statement-names.ts'

export type { PgConnection } from './run-statement.ts'

export interface PgPoolConnection extends PgConnection {
  release(destroy?: boolean | Error): void
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
}

/**
 * The part of `pg.Client` / `pg.PoolClient` that `pgTransaction` uses. Not a pool: each of its statements may use another
 * connection.
 */
export interface PgOwnConnection extends PgConnection {
  readonly totalCount?: never
}

/** The part of `pg.Pool` that is used. */
export interface PgPool extends PgConnection {
  readonly options?: { readonly max?: number | undefined } | undefined
  connect(): Promise<PgPoolConnection>
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** Options of `pgClient`. */
export interface PgClientOptions {
  /**
   * Receives errors of idle connections; of several clients over one pool, the last logger passed is used. @default stderrLogger
   */
  readonly logger?: Logger | undefined
  /**
   * Prepares repeated statements on each connection, at most 300: a quarter less work for the server. Do not use it with a pooler
   * in transaction mode that does not keep them (`core.sql_statement_lost`). @default false
   */
  readonly preparedStatements?: boolean | undefined
}

const NAMES = optionNames<PgClientOptions>({ logger: true, preparedStatements: true })

/** A `SqlClient` over a `pg.Pool`. The caller ends the pool. @throws TypeError if it is not a pool */
export function pgClient(pool: PgPool, options: PgClientOptions = {}): SqlClient {
  refuseUnknown('pgClient', options, NAMES)
  if (!hasMethods(pool, ['query', 'connect', 'on'])) {
    throw wrongKind('pgClient', pool, 'a pool: pgClient(new pg.Pool({ connectionString }))')
  }
  const { preparedStatements = false } = options
  requireBoolean('pgClient.preparedStatements', preparedStatements)
  const names = preparedStatements ? new StatementNames() : undefined
  hearErrors(pool, checkLogger('pgClient.logger', options.logger), options.logger !== undefined)
  const isInTransaction = pool.options?.max === 1 ? () => isInTransactionOf(pool) : undefined
  const transact: Transact = async (work, ending) => {
    refuseOwnTransaction({ isInTransaction })
    if (isInTransaction === undefined) return transaction(pool, work, ending, names)
    const context = new OpenTransactionContext(pool)
    return transaction(pool, (tx) => context.run(() => work({ ...tx, within: context.within })), ending, names)
  }
  return {
    connections: pool.options?.max,
    isInTransaction,
    query: async (text, parameters) => {
      refuseOwnTransaction({ isInTransaction })
      return repeatable(() => run(pool, text, parameters, names))
    },
    transaction: (work, limits) => transact(work, { ...COMMIT, begin: beginning(limits), limits }),
    prepare: (gid, work, limits) => transact(work, { ...preparing(gid), begin: beginning(limits), limits }),
  }
}

/** Runs a transaction on a pool. @throws `core.sql_own_transaction` inside another one that holds the pool's only connection */
type Transact = <T>(work: (tx: SqlTransaction) => Promise<T>, ending: Ending & Beginning) => Promise<T>

/** A `pg.Pool`, which emits each connection as soon as it is opened. */
interface TellingPool {
  on(event: 'connect', listener: (connection: PgPoolConnection) => void): unknown
}

/** Loggers of pools. */
const heard = new WeakMap<PgPool, { logger: Logger }>()

/**
 * Adds one listener per pool, however many clients use it; the last explicit logger is used. Also adds one listener to each new
 * connection: if a termination arrives together with a response, `pg` reads it before the new holder of the connection can
 * listen, and an error without a listener ends the process. The next statement fails with that error.
 */
function hearErrors(pool: PgPool, logger: Logger, isGiven: boolean): void {
  const known = heard.get(pool)
  if (known !== undefined) {
    if (isGiven) known.logger = logger
    return
  }
  const told = { logger }
  heard.set(pool, told)
  pool.on('error', (error) => told.logger.warn({ err: withoutClient(error) }, 'idle PostgreSQL connection lost'))
  ;(pool as unknown as TellingPool).on('connect', (connection) => connection.on('error', ignoreError))
}

/**
 * The caller's own open transaction as a `SqlTransaction`, e.g. to call `outbox.add` between your own `BEGIN` and `COMMIT` on a
 * `PoolClient`. Begins and ends nothing.
 *
 * Call it right after `BEGIN`: it is bound to the transaction that is open then. Statements outside of that transaction are not
 * run and reject with `core.sql_transaction_missing`.
 * @throws TypeError for a pool
 */
export function pgTransaction(connection: PgOwnConnection): SqlTransaction {
  if (!hasMethods(connection, ['query']) || 'totalCount' in connection) {
    throw wrongKind(
      'pgTransaction',
      connection,
      'one connection with an open transaction: const client = await pool.connect(), then BEGIN, then pgTransaction(client)',
    )
  }
  return joinedTransaction((text, parameters) => run(connection, text, parameters))
}

const ignoreError = (): void => {}

/** The pool attaches the whole client to the error of an idle connection: its password, its last query, its sockets. */
function withoutClient(error: Error & { readonly code?: unknown }): Error {
  const { message, name, stack, code } = error
  return Object.defineProperties(Object.assign(new Error(message), code === undefined ? {} : { code }), {
    name: { value: name, configurable: true },
    stack: { value: stack, configurable: true },
  })
}

/** Any form of `query` that returns a promise. */
interface NativeConnection {
  query(statement: unknown): Promise<unknown>
}

/** How a successful transaction is ended. */
interface Ending {
  readonly text: string
  /** True if those who wait for the commit are informed. */
  readonly isCommit: boolean
  /** Explains the server's refusal. */
  readonly explain: (error: unknown) => unknown
}

interface Beginning {
  /** Statements without parameters, in one round trip. */
  readonly begin: readonly string[]
  readonly limits?: TransactionLimits | undefined
}

const BEGIN = ['BEGIN ISOLATION LEVEL READ COMMITTED']

function beginning({ idleMs }: TransactionLimits = {}): readonly string[] {
  return idleMs === undefined
    ? BEGIN
    : [...BEGIN, `SET LOCAL idle_in_transaction_session_timeout = ${Math.ceil(idleMs)}`]
}

const COMMIT: Ending = { text: 'COMMIT', isCommit: true, explain: (error) => error }

function preparing(gid: string): Ending {
  return { text: `PREPARE TRANSACTION ${quoteLiteral(gid)}`, isCommit: false, explain: explainPrepare }
}

/** Explains errors of `PREPARE TRANSACTION` only: in the work itself, these codes mean something else. */
function explainPrepare(error: unknown): unknown {
  if (hasCode(error, '55000')) return new SqlError('core.sql_cannot_prepare', { message: PREPARING_IS_OFF }, error)
  if (!hasCode(error, '0A000')) return error
  const { message } = toError(error)
  return new SqlError(
    'core.sql_cannot_prepare',
    { message: `${message}: leave that out of the transaction, or do it after its commit` },
    error,
  )
}

async function transaction<T>(
  pool: PgPool,
  work: (tx: SqlTransaction) => Promise<T>,
  ending: Ending & Beginning,
  names: StatementNames | undefined,
): Promise<T> {
  const { begin, limits, isCommit } = ending
  const connection = await pool.connect().catch(throwFromConnecting)
  const failures = new StatementFailures()
  connection.on('error', failures.said.hear)
  const trips = new RoundTrips(connection, begin, names)
  const early = new EarlyTransactionEnd(connection)
  // Settings made in a prepared transaction stay on the connection, so it is closed then.
  let isSpoilt = false
  const spoils = (text: string): void => void (isSpoilt ||= outlivesTransaction(text))
  const executor = watched(early, executorOf(connection, trips, failures, ending))
  const scope = new TransactionScope(executor, isCommit ? undefined : spoils)
  const { afterCommit: _, ...preparedTx } = scope.tx
  let result: T
  try {
    const tx = isCommit ? scope.tx : { ...preparedTx, isPrepared: true as const }
    if (limits?.opened === true) await trips.begin()
    result = await work(limits === undefined ? tx : { ...tx, limits })
    scope.close()
    // A transaction without statements needs no commit; to be prepared, it must exist.
    if (!isCommit) await trips.begin()
    if (trips.endedWith === undefined) early.refuse()
    if (trips.isBegun) await end(connection, trips, failures, ending)
    await failures.connectionAnswered(connection)
  } catch (thrown) {
    scope.close()
    // Before the error is inspected, because the work may throw anything.
    if (trips.isBegun && trips.endedWith === undefined) await failures.rollBack(connection)
    const error = readable(thrown)
    failures.ended(error)
    throw failures.said.explain(error)
  } finally {
    early.stop()
    connection.off('error', failures.said.hear)
    connection.release(failures.isBroken || isSpoilt)
  }
  scope.committed()
  return result
}

/** Sends nothing more once the transaction has ended early. */
function watched(early: EarlyTransactionEnd, executor: ScopedExecutor): ScopedExecutor {
  const { last, batch, script, native } = executor
  const checked =
    <Args extends unknown[], T>(send: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      early.refuse()
      return send(...args)
    }
  return {
    query: checked((text: string, parameters?: readonly unknown[]) => executor.query<never>(text, parameters)),
    ...(last !== undefined && {
      last: checked((text: string, parameters?: readonly unknown[]) => last<never>(text, parameters)),
    }),
    ...(batch !== undefined && { batch: checked(batch) }),
    ...(script !== undefined && { script: checked(script) }),
    ...(native !== undefined && { native: checked(native) }),
  }
}

function executorOf(
  connection: PgConnection,
  trips: RoundTrips,
  failures: StatementFailures,
  { text: end, isCommit }: Ending,
): ScopedExecutor {
  return {
    query: (text, parameters) => trips.run<never>(text, parameters).catch(failures.rethrow),
    ...(isCommit && {
      last: (text: string, parameters?: readonly unknown[]) =>
        trips.runLast<never>(text, parameters, end).catch(failures.rethrow),
    }),
    batch: async (statements) => {
      const outcomes = await trips.batch(statements)
      failures.noteAll(outcomes)
      return outcomes
    },
    script: (texts) =>
      trips.after(async () => void (await connection.query(texts).catch(throwFromDriver))).catch(failures.rethrow),
    native: (_, statement) =>
      trips
        .after(() => (connection as unknown as NativeConnection).query(statement).catch(throwFromDriver))
        .catch(failures.rethrow),
  }
}

/** Ends the transaction, unless the last statement did. @throws SqlCommitError */
async function end(
  connection: PgConnection,
  trips: RoundTrips,
  { failed }: StatementFailures,
  { text, explain }: Ending,
): Promise<void> {
  const asked = async (): Promise<string | undefined> => {
    try {
      return (await connection.query(text)).command
    } catch (error) {
      const from = fromDriver(error)
      // Our statement may have waited behind a slow statement of a handler that ignored the timeout.
      throw explain(failed.some(isGivenUpByHandler) ? from : fromOwnStatement(from))
    }
  }
  if ((trips.endedWith ?? (await asked())) === 'ROLLBACK') throw new SqlCommitError(failed)
}
