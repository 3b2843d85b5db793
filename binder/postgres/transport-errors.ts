import { hasCode, toError } from '../../core/errors.ts'
import { explainMissing } from '../../core/sql.ts'
import { READ_ONLY_REMEDY } from '../../core/sql-error.ts'
import { READ_ONLY, sqlStateOf } from '../../core/sql-unavailable.ts'
import { writeFault } from '../../core/write-fault.ts'
import { TransportError, type TransportErrorKind } from '../errors.ts'
import { type Failure, failureOf } from '../transport/kit/transport-error-factory.ts'
import { isTlsFailure } from '../transport/tls-failure.ts'

export const TRANSPORT = 'postgres'

/** Raised by our functions: another member has the position. */
const FENCED = 'CN001'

export const failure: Failure = failureOf(TRANSPORT)

export function isFenced(error: unknown): boolean {
  return sqlStateOf(error) === FENCED
}

/** Converts any error of a statement to the transport's error; `what` completes "could not". */
export function toTransportError(what: string, cause: unknown, schema: string, destination?: string): TransportError {
  if (cause instanceof TransportError) return cause
  const explained = explainMissing(cause, schema, 'postgresTransport(...).migrate()')
  const { kind, remedy } = verdict(explained)
  return failure(kind, `could not ${what}: ${toError(explained).message}${remedy}`, { destination, cause: explained })
}

/** For readers of the log. */
export const LOG_MADE_AGAIN = 'the log was dropped while this process read it'
const MADE_AGAIN =
  '. The channel is not where it was: the log was made again, or a failover has lost it. Try again, it is looked for anew.'

function verdict(cause: unknown): { kind: TransportErrorKind; remedy: string } {
  const never = ['core.tables_missing', 'core.sql_version', 'core.sql_own_transaction']
  if (never.some((code) => hasCode(cause, code))) return { kind: 'mismatch', remedy: '' }
  const state = sqlStateOf(cause) ?? ''
  if (isOfOtherLog(state)) return { kind: 'unavailable', remedy: MADE_AGAIN }
  if (hasCode(cause, 'core.rights_missing')) return { kind: 'refused', remedy: '. It is tried again.' }
  // Rights are granted and revoked while services run: tried again, as after a wrong password.
  if (writeFault(cause) === 'operator' || state === '42501')
    return {
      kind: 'refused',
      remedy: '. Grant the role what `npx concordat migrate grants` prints; it is tried again.',
    }
  if (state.startsWith('28')) return { kind: 'refused', remedy: '. Check the user and its password.' }
  if (state.startsWith('53')) return { kind: 'refused', remedy: '. The server is out of connections, memory or disk.' }
  if (state === READ_ONLY) return { kind: 'refused', remedy: hasCode(cause, 'core.read_only') ? '' : READ_ONLY_REMEDY }
  if (isTlsFailure([cause, cause instanceof Error ? cause.cause : undefined]))
    return { kind: 'refused', remedy: '. Check the certificates of the connection.' }
  return { kind: 'unavailable', remedy: '' }
}

/** True if the tables are gone, or never existed. */
export function isWithoutTables(error: unknown): boolean {
  return error instanceof TransportError && hasCode(error.cause, 'core.tables_missing')
}

/** True if cached data of the log is outdated. See `appendStatement`. */
export function isOutdated(error: unknown): boolean {
  return hasCode(error, 'core.tables_missing') || isOfOtherLog(sqlStateOf(error))
}

/** True for a statement that will fail again unchanged, because of one of its messages. */
export function isOfData(error: unknown): boolean {
  return !isOfOtherLog(sqlStateOf(error)) && writeFault(error) === 'permanent'
}

/**
 * True if the server is available but refuses this statement, perhaps no other one: a right, a lock that was not free in time, a
 * read-only session.
 */
export function isOfStatement(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state !== undefined && !OF_CONNECTION.test(state)
}

/** The connection could not be made, or has ended. */
const OF_CONNECTION = /^(08...|28...|3D000|57P..|53300)$/

/** A required value or segment is missing; nothing else that the transport writes can lack them. */
function isOfOtherLog(state: string | undefined): boolean {
  return state === '23502' || state === '23514'
}
