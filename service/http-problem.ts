/** Converts errors of this package, and of an unavailable database, to HTTP responses. */
import { sqlUnavailable } from '../core/sql-unavailable.ts'
import { fieldOf } from '../core/thrown-values.ts'
import { writeFault } from '../core/write-fault.ts'

/** Response for an error: for `json` of Express and Hono, and `send` of Fastify. */
export interface HttpProblem {
  /** HTTP status, 400 to 599. */
  readonly status: number
  /** `retry-after` if the same request may succeed later. */
  readonly headers: Readonly<Record<string, string>>
  /** The stable code, and whether to try again. No message, because clients are untrusted. */
  readonly body: { readonly error: { readonly code: string; readonly retryable: boolean } }
}

/** Codes for errors of the client, or unavailable parts. Others become 503 if retryable, else 500. */
const STATUS: Readonly<Record<string, number>> = {
  'core.codec': 400,
  'core.schema': 400,
  'outbox.text': 400,
  'saga.transaction_header': 400,
  'tokens.refused': 403,
  'saga.not_found': 404,
  'cluster.state_conflict': 409,
  'locks.busy': 409,
  'locks.fence_rejected': 409,
  'saga.action_refused': 409,
  'saga.branch_failed': 409,
  'saga.compensated': 409,
  'saga.conflict': 409,
  'saga.transaction_cancelled': 409,
  'saga.transaction_ended': 409,
  'bus.payload_too_large': 413,
  'cluster.data_too_large': 413,
  'outbox.too_large': 413,
  'saga.http_too_large': 413,
  'saga.payload_too_large': 413,
  'saga.transaction_not_here': 421,
  'binder.request_refused': 422,
  'binder.closed': 503,
  'bus.closed': 503,
  'cluster.closed': 503,
  'locks.closed': 503,
  'saga.closed': 503,
  'service.closed': 503,
  'binder.request_timeout': 504,
}

const OURS = /^(?:core|binder|outbox|saga|locks|election|cluster|bus|service|pipeline|tokens)\./
/** Also for a closing service, because another instance takes the next request. */
const RETRY_AFTER = { 'retry-after': '1' } as const

/** A driver has no stable codes, and its message may contain values and addresses. */
const DATABASE_UNAVAILABLE: HttpProblem = {
  status: 503,
  headers: RETRY_AFTER,
  body: { error: { code: 'service.database_unavailable', retryable: true } },
}

/**
 * Returns the HTTP response for an error of this package: 400 for a payload that its schema refuses, 403 for a refused token, 409
 * for a conflict, 413, 503 for unavailable, closed or retryable, 500 for errors that have to be fixed. Decided by its `code`, so
 * it works for any copy of the package.
 *
 * Returns 503 with the code `service.database_unavailable` for an error of a client that was passed to this package, also if a
 * library wrapped it, when the database cannot be reached, accepts no writes, or ended the connection. A 503 or 504 does not mean
 * that nothing was done: a commit or a message whose confirmation was lost may have succeeded.
 * @returns `undefined` for other errors, such as a `Refusal` with your own code, or an error with a `status` or `statusCode`
 */
export function httpProblem(error: unknown): HttpProblem | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const [code, retryable] = [fieldOf(error, 'code'), fieldOf(error, 'retryable')]
  if (typeof code !== 'string' || typeof retryable !== 'boolean') {
    return isDatabaseUnavailable(error) ? DATABASE_UNAVAILABLE : undefined
  }
  if (!OURS.test(code)) return undefined
  const status = (Object.hasOwn(STATUS, code) ? STATUS[code] : undefined) ?? (retryable ? 503 : 500)
  const comesBack = retryable || status === 503
  return { status, headers: comesBack ? RETRY_AFTER : {}, body: { error: { code, retryable: comesBack } } }
}

/** An error with an HTTP status keeps it, because the caller chose it. A missing right needs an operator, and stays a 500. */
function isDatabaseUnavailable(error: object): boolean {
  const hasStatus = ['status', 'statusCode'].some((name) => typeof fieldOf(error, name) === 'number')
  return !hasStatus && sqlUnavailable(error) !== undefined && writeFault(error) === 'unavailable'
}
