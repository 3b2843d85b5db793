/** Error response: a status, a code, and a sentence without secrets. */
import { ConcordatError, type Logger } from 'concordat/core'
import { toError, withoutSecrets } from 'concordat/extension'

export class Problem extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** The body of an error response. */
export interface ProblemBody {
  readonly code: string
  readonly message: string
}

const STATUS: Readonly<Record<string, number>> = {
  'saga.not_found': 404,
  'saga.undo_not_found': 404,
  'saga.undo_not_yet': 409,
  'saga.action_refused': 409,
  'outbox.ambiguous': 409,
  'locks.unsupported': 409,
  'core.tables_missing': 409,
  'core.sql_version': 409,
  'operate.transport_missing': 409,
  'operate.store_missing': 409,
  'operate.letters_out_of_reach': 409,
  'locks.holder_changed': 409,
  'locks.store_unavailable': 503,
  'cluster.store_unavailable': 503,
  'binder.transport': 503,
  'bus.address': 422,
  // A result that was set for a step.
  'core.codec': 422,
  'core.schema': 422,
  'saga.payload_too_large': 422,
  'bus.not_ready': 503,
  'binder.redrive_stalled': 503,
  'binder.redrive_would_repeat': 409,
}

/** Codes of sockets and of PostgreSQL: no connection, shut down, too many, cancelled. */
const AWAY = /^(?:E(?:CONNREFUSED|CONNRESET|NOTFOUND|TIMEDOUT|HOSTUNREACH|AI_AGAIN|PIPE)|08.{3}|57(?:014|P0.)|53300)$/

/** PostgreSQL's code for a right that the role lacks. */
const DENIED = '42501'
const NO_RIGHT = 'the role of the console lacks a right on the tables: npx concordat doctor lists what it lacks'

/** Public part of an error. The text of a foreign error is only logged, because it may contain values. */
export function problemOf(error: unknown, logger: Logger): Problem {
  if (error instanceof Problem) return error
  const { message } = toError(error)
  const { code: given } = (error ?? {}) as { readonly code?: unknown }
  const code = typeof given === 'string' ? given : ''
  const text = withoutSecrets(message.split('\n')[0] ?? '')
  // Its message contains values of rows, which are only shown by a separate action.
  if (code === 'saga.undo_conflict') return new Problem(409, code, 'rows were changed since: look at its differences')
  const status = STATUS[code]
  if (status !== undefined) return new Problem(status, code, text)
  if (error instanceof ConcordatError) return new Problem(500, code, text)
  const isInput = (error instanceof TypeError || error instanceof RangeError) && message.includes(': expected ')
  if (isInput) return new Problem(422, 'console.input', text)
  logger.warn({ err: error }, 'the console could not answer')
  if (AWAY.test(code) || /timeout|Connection terminated/i.test(message))
    return new Problem(503, 'console.away', 'the server that was asked does not answer')
  if (code === DENIED) return new Problem(409, 'console.rights', NO_RIGHT)
  return new Problem(500, 'console.failed', 'it failed: the log of the console says why')
}

export function bodyOf({ code, message }: Problem): ProblemBody {
  return { code, message }
}
