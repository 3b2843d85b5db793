/** Errors of this package as answers of an HTTP server. */

/** An answer for an error: for the `json` of Express and Hono, and the `send` of Fastify. */
export interface HttpProblem {
  /** HTTP status, 400 to 599. */
  readonly status: number
  /** `retry-after` where the same request may succeed later. */
  readonly headers: Readonly<Record<string, string>>
  /** The stable code and whether to try again. No message: this is for strangers. */
  readonly body: { readonly error: { readonly code: string; readonly retryable: boolean } }
}

/** Codes that are the requester's fault, or mean unavailable. Others become 503 if retryable, else 500. */
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
/** That of a service that closes, too: another instance takes the next request. */
const RETRY_AFTER = { 'retry-after': '1' } as const

/**
 * HTTP status for an error of this package: 400 for a payload that its schema refuses, 403 for a refused token, 409 for a conflict, 413, 503 for
 * unavailable, closed or retryable, 500 for what must be fixed. Decided by its `code`, so it works for any copy of the package.
 * @returns `undefined` for other errors, such as a `Refusal` with a code of yours
 */
export function httpProblem(error: unknown): HttpProblem | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('retryable' in error)) return undefined
  const { code, retryable } = error
  if (typeof code !== 'string' || typeof retryable !== 'boolean' || !OURS.test(code)) return undefined
  const status = (Object.hasOwn(STATUS, code) ? STATUS[code] : undefined) ?? (retryable ? 503 : 500)
  const comesBack = retryable || status === 503
  return { status, headers: comesBack ? RETRY_AFTER : {}, body: { error: { code, retryable: comesBack } } }
}
