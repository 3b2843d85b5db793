/**
 * Errors that say nothing about a statement or its caller: the database was unavailable, or refused all writes. The same
 * statement may succeed on a new connection.
 */
import { causesOf } from './errors.ts'
import { isUnansweredOwnStatement } from './own-statements.ts'
import type { SqlExecutor } from './sql.ts'
import { fieldOf, messageOf } from './thrown-values.ts'

/**
 * - `unreachable`: no connection was opened, nothing was sent.
 * - `lost`: the connection ended, or leads to a read-only server (a standby that was not promoted yet), or the role is denied it
 *   for now; or a statement of this package got no response in time.
 */
export type SqlUnavailable = 'unreachable' | 'lost'

/** Starting up or recovering; too many connections. */
const NOT_YET: ReadonlySet<unknown> = new Set(['57P03', '53300'])
/** The connection failed; an administrator, a crash or a time limit ended it; read-only; the disk is full. */
const LOST = /^(08...|57P0[125]|25006|53100)$/
/** MariaDB drivers have the SQLSTATE in `sqlState`, and their own names in `code`. */
const NO_CONNECTION: ReadonlySet<unknown> = new Set(['08001', '08004'])
const LOST_CONNECTION = /^08/
const REFUSED: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'])
/** Reported for a connection that is being opened, and also for an open one through which a statement may have gone. */
const CUT: ReadonlySet<unknown> = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])
const BROKEN: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE'])
/** `pg` has no codes for these: no connection was opened in time, or none was free. */
const NOT_MADE = /^(Connection terminated due to connection timeout|timeout exceeded when trying to connect)/
/** Reported by a pool whose connections were all in use, or all being opened to an unavailable server. */
const POOL_FULL = 'timeout exceeded when trying to connect'
const POOL_FULL_REMEDY =
  ': no connection of the pool became free. If the server is up, raise the max of the pool, or give the transport and the locks pools of their own'
/** Messages for a connection that ended. */
const ENDED =
  /^(Connection terminated|Client has encountered a connection error|Client was closed and is not queryable)/

/** A refused login or a missing database: only reported when connecting. */
const NO_LOGIN = /^(28...|3D000)$/
/** A certificate that either side does not accept. */
const NO_TLS = /^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(VERIFY|GET_ISSUER)|HOSTNAME_MISMATCH)/

/** Network errors of database clients. The same words from another client, in a handler, mean something else. */
const ofDatabases = new WeakSet<object>()
/** No connection was opened, for whatever reason. */
const ofConnecting = new WeakSet<object>()

/** Errors after which the server responded on the same connection: their words about connections concern others. */
const ofAnswering = new WeakSet<object>()
/**
 * Functions in PostgreSQL's source that pass on errors of code in the database, or of another server: RAISE, `postgres_fdw`,
 * `dblink`.
 */
const HANDS_ON = /^(exec_stmt_raise|pgfdw_|connect_pg_server|dblink_)/
/** SQLSTATE of a write in a read-only session, or on a read-only server. */
export const READ_ONLY = '25006'
const DISK_FULL = '53100'
const IS_READ_ONLY = `SELECT current_setting('transaction_read_only') AS value`

/**
 * For adapters, once a transaction has ended and the server has confirmed it: errors of its statements about a lost connection
 * concern another connection. A read-only server says so again; a disk may still be full.
 * @param errors of statements of the transaction
 * @param ask runs a statement in its own transaction
 */
export async function connectionAnswered(
  errors: readonly unknown[],
  ask: Pick<SqlExecutor, 'query'>['query'],
): Promise<void> {
  for (const error of errors) {
    if (typeof error !== 'object' || error === null || fieldOf(error, 'code') === DISK_FULL) continue
    if (fieldOf(error, 'code') !== READ_ONLY || !(await isReadOnly(ask))) ofAnswering.add(error)
  }
}

async function isReadOnly(ask: Pick<SqlExecutor, 'query'>['query']): Promise<boolean> {
  try {
    return (await ask<{ value: string }>(IS_READ_ONLY)).rows[0]?.value !== 'off'
  } catch {
    return true
  }
}

/**
 * For adapters: marks an error as coming from the database's driver. @returns the error, with a remedy if no connection of a pool
 * became free
 */
export function fromDriver(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) ofDatabases.add(error)
  if (error instanceof Error && error.message === POOL_FULL) error.message += POOL_FULL_REMEDY
  return error
}

/** Same as `fromDriver`, for the `catch` of a promise. */
export function throwFromDriver(error: unknown): never {
  throw fromDriver(error)
}

/** Same as `throwFromDriver`, for errors of `connect`: no statement was sent, so none was wrong. */
export function throwFromConnecting(error: unknown): never {
  if (typeof error === 'object' && error !== null) ofConnecting.add(error)
  throw fromDriver(error)
}

/** Tells whether the database was unavailable when this error was thrown; looks through wrappers of libraries. Never throws. */
export function sqlUnavailable(error: unknown): SqlUnavailable | undefined {
  for (const cause of causesOf(error)) {
    const away = awayOf(cause)
    if (away !== undefined) return away
  }
  return undefined
}

function awayOf(cause: object): SqlUnavailable | undefined {
  // Also if the server has responded to the ROLLBACK: it stalled before.
  if (isUnansweredOwnStatement(cause)) return 'lost'
  if (ofAnswering.has(cause) || isHandedOn(cause)) return undefined
  const code = fieldOf(cause, 'code')
  if (NOT_YET.has(code)) return 'unreachable'
  if (typeof code === 'string' && LOST.test(code)) return 'lost'
  const state = fieldOf(cause, 'sqlState')
  if (NO_CONNECTION.has(state)) return 'unreachable'
  if (typeof state === 'string' && LOST_CONNECTION.test(state)) return 'lost'
  const message = messageOf(cause) ?? ''
  if (NOT_MADE.test(message)) return 'unreachable'
  if (ENDED.test(message)) return 'lost'
  if (ofConnecting.has(cause)) return 'unreachable'
  if (!ofDatabases.has(cause)) return undefined
  if (isDenied(cause)) return 'lost'
  if (REFUSED.has(code)) return 'unreachable'
  if (CUT.has(code)) return fieldOf(cause, 'syscall') === 'connect' ? 'unreachable' : 'lost'
  if (typeof code === 'string' && (NO_LOGIN.test(code) || NO_TLS.test(code))) return 'unreachable'
  return BROKEN.has(code) ? 'lost' : undefined
}

function isHandedOn(cause: object): boolean {
  const routine = fieldOf(cause, 'routine')
  return typeof routine === 'string' && HANDS_ON.test(routine)
}

/**
 * The role lacks a right. Row-level security has the same code but depends on the row: PostgreSQL reports the function of its
 * source, independent of the language.
 */
export function isDenied(cause: object): boolean {
  if (fieldOf(cause, 'code') !== '42501') return false
  const routine = fieldOf(cause, 'routine')
  return typeof routine === 'string' && DENIES.test(routine)
}

/** Functions that check a right; the right to a sequence is checked where its next value is taken. */
const DENIES = /^(aclcheck_error|nextval_internal$)/

/** SQLSTATE of the error, or of the first of its causes that has one. */
export function sqlStateOf(error: unknown): string | undefined {
  for (const cause of causesOf(error)) {
    const code = fieldOf(cause, 'code')
    if (typeof code === 'string' && SQLSTATE.test(code)) return code
  }
  return undefined
}

/** Five characters, but not Node's own codes such as EPIPE. */
const SQLSTATE = /^(?!E[A-Z]{4}$)[0-9A-Z]{5}$/
