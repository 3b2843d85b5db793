/**
 * Errors that say nothing of a statement, and of whoever sent it: the database was not there, or was one that may not write. The
 * same statement may succeed on a new connection.
 */
import { causesOf } from './errors.ts'

/**
 * - `unreachable`: no connection was made, nothing was sent.
 * - `lost`: the connection ended, or leads to a server that only reads: a standby that was not promoted yet.
 */
export type SqlAway = 'unreachable' | 'lost'

/** Starting up or recovering; too many connections. */
const NOT_YET: ReadonlySet<unknown> = new Set(['57P03', '53300'])
/** The connection failed; an administrator, a crash or a time limit ended it; read-only; the disk is full. */
const LOST = /^(08...|57P0[125]|25006|53100)$/
const REFUSED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
])
const BROKEN: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE'])
/** `pg` has no codes for these: no connection was made in time, or none was free. */
const NOT_MADE = /^(Connection terminated due to connection timeout|timeout exceeded when trying to connect)/
/** And for one that ended. */
const ENDED =
  /^(Connection terminated|Client has encountered a connection error|Client was closed and is not queryable)/

/** What a network said to a client of a database. The same words of another client, in a handler, mean something else. */
const ofDatabases = new WeakSet<object>()

/** For adapters: this error came from the database's driver. @returns the error */
export function fromDriver(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) ofDatabases.add(error)
  return error
}

/** As `fromDriver`, for the `catch` of a promise. */
export function throwFromDriver(error: unknown): never {
  throw fromDriver(error)
}

/** Whether the database was away when this was thrown; looks through what a library put around it. Never throws. */
export function sqlAway(error: unknown): SqlAway | undefined {
  try {
    for (const cause of causesOf(error)) {
      const away = awayOf(cause)
      if (away !== undefined) return away
    }
  } catch {
    // What cannot even be read says nothing of a database.
  }
  return undefined
}

function awayOf(cause: object): SqlAway | undefined {
  const code = 'code' in cause ? cause.code : undefined
  if (NOT_YET.has(code)) return 'unreachable'
  if (typeof code === 'string' && LOST.test(code)) return 'lost'
  if (cause instanceof Error && NOT_MADE.test(cause.message)) return 'unreachable'
  if (cause instanceof Error && ENDED.test(cause.message)) return 'lost'
  if (!ofDatabases.has(cause)) return undefined
  if (REFUSED.has(code)) return 'unreachable'
  return BROKEN.has(code) ? 'lost' : undefined
}
