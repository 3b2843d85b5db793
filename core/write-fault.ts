/**
 * Classifies why a write failed. Every part that writes uses this function: coordinator, replies, due sagas, participants, inbox,
 * relay, transport, locks, cluster state.
 *
 * | fault | what the caller does |
 * |---|---|
 * | `unavailable` | waits until the server is back; counts no attempt |
 * | `busy` | retries with jitter, up to a limit; counts no attempt |
 * | `session-ended` | counts an attempt: the server ended the session because of what the caller did with it |
 * | `operator` | waits with health `down`, continues once an operator fixed rights or clocks; counts no attempt |
 * | `permanent` | fails the step or the message: the same write never succeeds |
 *
 * `undefined`: the error is unknown here. The caller treats it as a failure of the work itself.
 */

import { causesOf, hasCode, isRetryable } from './errors.ts'
import { isUnansweredOwnStatement } from './own-statements.ts'
import { CONFLICTS } from './sql-conflicts.ts'
import { isDenied, sqlStateOf, sqlUnavailable } from './sql-unavailable.ts'
import { fieldOf, messageOf } from './thrown-values.ts'

export type WriteFault = 'unavailable' | 'busy' | 'session-ended' | 'operator' | 'permanent'

/** Conflicts, and another running call of the same XA step. */
const BUSY: ReadonlySet<unknown> = new Set([...CONFLICTS, 'saga.xa_not_yet'])
/** `idle_in_transaction_session_timeout` and `transaction_timeout`. */
const SESSION_ENDED: ReadonlySet<unknown> = new Set(['25P03', '25P04'])
/** Wrong tables, settings or deployments: the same write succeeds after an operator has fixed them. */
const OPERATOR: ReadonlySet<unknown> = new Set([
  'core.tables_missing',
  'core.sql_version',
  'core.sql_statement_lost',
  'outbox.partitions',
  'outbox.owner',
  'saga.shards_mismatch',
  'saga.other_shard',
])
/** Data exceptions, program limits, CHECK constraints. */
const PERMANENT = /^(22...|54...|23514)$/
/** A value that needs more memory than PostgreSQL ever allocates for one: it is reported as an internal error. */
const TOO_MUCH_MEMORY = /^invalid memory alloc request size/

/** Tells why a write failed, from the error or the first of its causes that is known. Never throws. */
export function writeFault(error: unknown): WriteFault | undefined {
  const causes = causesOf(error)
  for (const cause of causes) {
    const fault = faultOf(cause)
    if (fault !== undefined) return fault
  }
  if (sqlUnavailable(error) !== undefined) return 'unavailable'
  return causes.some((cause) => !isRetryable(cause)) ? 'permanent' : undefined
}

/**
 * Rights, passwords, clocks: an operator changes them while services run. Error names of Kafka's protocol, and AMQP's
 * `access-refused`.
 */
const BROKER_DENIED = /_AUTHORIZATION_FAILED$|^SASL_AUTHENTICATION_FAILED$|^INVALID_TIMESTAMP$/

/** Classifies a `TransportError` by its kind and the broker's response. */
function faultOfBroker(error: object): WriteFault | undefined {
  const isForOperator = causesOf(error).some((cause) => {
    const [type, code] = [fieldOf(cause, 'type'), fieldOf(cause, 'code')]
    if (typeof type === 'string' && BROKER_DENIED.test(type)) return true
    return code === 403 || OPERATOR.has(code) || isDenied(cause)
  })
  if (isForOperator) return 'operator'
  const kind = fieldOf(error, 'kind')
  return !isRetryable(error) && kind !== undefined && kind !== 'closed' ? 'permanent' : 'unavailable'
}

function faultOf(cause: object): WriteFault | undefined {
  const code = fieldOf(cause, 'code')
  if (code === 'binder.transport') return faultOfBroker(cause)
  // MariaDB drivers have the SQLSTATE in `sqlState`, and their own names in `code`.
  if (BUSY.has(code) || BUSY.has(fieldOf(cause, 'sqlState'))) return 'busy'
  if (SESSION_ENDED.has(code) && !isUnansweredOwnStatement(cause)) return 'session-ended'
  if (OPERATOR.has(code) || isDenied(cause)) return 'operator'
  if (code === 'XX000' && TOO_MUCH_MEMORY.test(messageOf(cause) ?? '')) return 'permanent'
  return typeof code === 'string' && PERMANENT.test(code) ? 'permanent' : undefined
}

/**
 * - `not_done`: the server rolled the write back or never received it, and will accept it later.
 * - `refused`: the server rolled it back, and would do so again.
 * - `unknown`: it may have happened, or may still happen.
 */
export type WriteOutcome = 'not_done' | 'refused' | 'unknown'

/** Because of other transactions, lack of resources, a time limit, or a read-only server. 40003: the outcome is unknown. */
const ROLLED_BACK = /^(40(?!003)|53)|^(25006|25P04|57014)$/
/** The server or the connection ended, possibly after the commit. */
const ENDED = /^(08|40003|57P|58|XX)/

/** Tells from the error of a failed write or commit whether it was done. */
export function writeOutcome(error: unknown): WriteOutcome {
  if (causesOf(error).some((cause) => hasCode(cause, 'core.sql_commit'))) return 'not_done'
  const fault = writeFault(error)
  if (fault === 'busy' || fault === 'session-ended') return 'not_done'
  if (fault === 'operator' || fault === 'permanent') return 'refused'
  const state = sqlStateOf(error)
  if (sqlUnavailable(error) === 'unreachable' || (state !== undefined && ROLLED_BACK.test(state))) return 'not_done'
  return fault === 'unavailable' || state === undefined || ENDED.test(state) ? 'unknown' : 'refused'
}

const OF_PART = /^(?:binder|bus|cluster|election|locks|outbox|saga|service|tokens)\.closed$/

/**
 * True if a part of this package was closed while its caller still ran, as at the end of a process: this says nothing about the
 * message or the step, which another process can continue. An error of the caller that wraps it is judged by itself.
 */
export function isClosed(error: unknown): boolean {
  const code = fieldOf(error, 'code')
  if (code === 'binder.send') return isClosed(fieldOf(error, 'cause'))
  if (code === 'binder.transport') return fieldOf(error, 'kind') === 'closed'
  return typeof code === 'string' && OF_PART.test(code)
}
