/**
 * The part of `mysql2` that is used, and the meaning of its results and errors. The caller passes the pool; no driver is loaded
 * here.
 */
import { fieldOf, hasMethods, messageOf, wrongKind } from 'concordat/extension'

/** The part of a connection of `mysql2/promise` that is used. */
export interface MysqlConnection {
  /** @param statement SQL, or SQL with its own options */
  query(statement: string | { readonly sql: string }, values?: unknown[]): Promise<readonly [unknown, unknown]>
  execute(statement: string | { readonly sql: string }, values?: never[]): Promise<readonly [unknown, unknown]>
  /** Closes it gracefully, with the pool's option `gracefulEnd`. */
  end(): Promise<void>
  release(): void
  destroy(): void
}

export type MysqlStatement = Parameters<MysqlConnection['query']>[0]

/** The part of a pool of `mysql2/promise` that is used. */
export interface MysqlPool {
  getConnection(): Promise<MysqlConnection>
}

/** The part of a pool of `mysql2` that is used. */
export interface MysqlCallbackPool {
  promise(): MysqlPool
}

/** @throws TypeError if it is not a pool */
export function promisePool(path: string, pool: MysqlPool | MysqlCallbackPool): MysqlPool {
  if (hasMethods(pool, ['promise', 'getConnection'])) return (pool as unknown as MysqlCallbackPool).promise()
  if (hasMethods(pool, ['getConnection'])) return pool as MysqlPool
  throw wrongKind(path, pool, "a pool: mysql.createPool({ uri, gracefulEnd: true }) of 'mysql2/promise'")
}

/** The server's error numbers. */
export const ER = {
  ACCESS_DENIED: 1227,
  TABLE_MISSING: 1146,
  COLUMN_MISSING: 1054,
  LOCK_WAIT_TIMEOUT: 1205,
  UNKNOWN_VARIABLE: 1193,
  READ_ONLY_OPTION: 1290,
  READ_ONLY_MODE: 1836,
  CONNECTION_KILLED: 1927,
  XAER_NOTA: 1397,
  XAER_RMFAIL: 1399,
  XAER_RMERR: 1401,
} as const

export function hasNumber(error: unknown, number: number): boolean {
  return fieldOf(error, 'errno') === number
}

/** SQLSTATE of an unavailable database: the participant leaves the command to be redelivered, and counts no attempt. */
const NOT_CONNECTED = '08001'
const CONNECTION_LOST = '08006'

/** @throws the pool's error, marked as "not connected": no statement was sent */
export function throwNotConnected(error: unknown): never {
  throw withState(error, NOT_CONNECTED)
}

/** For a statement without a response, with a lost connection, or on a read-only server. @returns the error */
export function serverAway(error: unknown): unknown {
  return isLost(error) ? withState(error, CONNECTION_LOST) : error
}

function isLost(error: unknown): boolean {
  if (fieldOf(error, 'fatal') === true || fieldOf(error, 'code') === 'saga.mysql_unanswered') return true
  if (hasNumber(error, ER.READ_ONLY_MODE) || hasNumber(error, ER.CONNECTION_KILLED)) return true
  return hasNumber(error, ER.READ_ONLY_OPTION) && messageOf(error)?.includes('read-only') === true
}

function withState(error: unknown, sqlState: string): unknown {
  return error instanceof Error ? Object.assign(error, { sqlState }) : error
}

/** Result of a statement. */
export interface MysqlResult<Row> {
  readonly rows: readonly Row[]
  /**
   * Rows affected by INSERT / UPDATE / DELETE, rows returned by SELECT. An UPDATE counts the rows that it found; with
   * `-FOUND_ROWS` in the pool's `flags`, the rows that it changed.
   */
  readonly rowCount: number
  /** The first AUTO_INCREMENT value of an INSERT, otherwise 0. */
  readonly insertId: number
}

/** The result of a SELECT is a list of rows, that of any other statement an object. */
export function resultOf<Row>([answer]: readonly [unknown, unknown]): MysqlResult<Row> {
  if (Array.isArray(answer)) return { rows: answer as Row[], rowCount: answer.length, insertId: 0 }
  const { affectedRows = 0, insertId = 0 } = answer as { readonly affectedRows?: number; readonly insertId?: number }
  return { rows: [], rowCount: affectedRows, insertId }
}

/** Rows of our own statements have one form, regardless of the pool's options, which are for the statements of handlers. */
const OWN_ROWS = {
  rowsAsArray: false,
  nestTables: false,
  // A function, because only a function overrides one of the pool.
  typeCast: ({ type }: { readonly type: string }, next: () => unknown): unknown => {
    const value = next()
    return type === 'LONGLONG' && typeof value === 'string' ? Number(value) : value
  },
} as const

/** Our own statement whose rows are read: objects by column, with numbers as numbers. */
export function own(sql: string): { readonly sql: string } {
  return { sql, ...OWN_ROWS }
}

export function textOf(statement: MysqlStatement): string {
  return typeof statement === 'string' ? statement : statement.sql
}

/** Runs our own statement, whose parameters are only texts and numbers. */
export async function rowsOf<Row extends object>(
  connection: MysqlConnection,
  text: string,
  values: ReadonlyArray<string | number> = [],
): Promise<readonly Row[]> {
  return resultOf<Row>(await connection.execute(own(text), values as never[])).rows
}
