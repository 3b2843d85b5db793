/**
 * The header that names a global transaction to the recipient of a request or message: `saga-transaction`, with
 * `<service>/<name>/<id>/<birth>`, each percent-encoded. It is not a secret and proves nothing; the birth, which cannot be
 * guessed, protects a transaction from clients that never received the header.
 *
 * @see docs/reference/wire-format.md, "The header of a global transaction"
 */
import { GlobalTransactionError } from '../global/errors.ts'

/** The name of the header of a global transaction. */
export const TRANSACTION_HEADER = 'saga-transaction'

/** Identifies a global transaction of a service. */
export interface TransactionRef {
  /** Service whose coordinators run it. */
  readonly service: string
  readonly name: string
  readonly id: string
  /** Distinguishes it from an earlier one with the same id. */
  readonly birth: string
}

/** Headers of a request or message, in any common form. */
export type AnyHeaders =
  | { get(name: string): string | null }
  | Readonly<Record<string, string | readonly string[] | number | boolean | Uint8Array | null | undefined>>

/** Four names and ids of at most 200 characters, each of which takes up to 12 in a header. */
const MAX_LENGTH = 3_000
const NAME = /^[A-Za-z0-9._-]{1,100}$/
const BIRTH = /^[A-Za-z0-9-]{8,64}$/
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/

function invalid(why: string): GlobalTransactionError {
  return new GlobalTransactionError('saga.transaction_header', { why, statusCode: 400 })
}

export function formatTransaction({ service, name, id, birth }: TransactionRef): string {
  return [service, name, encodeURIComponent(id), birth].join('/')
}

/** Returns `undefined` without such a header. @throws `saga.transaction_header`; the value is not repeated */
export function readTransaction(headers: AnyHeaders): TransactionRef | undefined {
  const value = 'get' in headers && typeof headers.get === 'function' ? headers.get(TRANSACTION_HEADER) : own(headers)
  if (value === null || value === undefined) return undefined
  if (typeof value !== 'string') throw invalid('is there more than once, or is no text')
  if (value.length > MAX_LENGTH) throw invalid(`has more than ${MAX_LENGTH} characters`)
  const [service = '', name = '', written = '', birth = '', ...more] = value.split('/')
  const id = decode(written)
  const isNamed = NAME.test(service) && NAME.test(name) && BIRTH.test(birth) && more.length === 0
  const isId = id !== undefined && id !== '' && id.length <= 200 && id.isWellFormed() && !CONTROL.test(id)
  if (!isNamed || !isId) {
    throw invalid('is not of the form <service>/<name>/<id>/<birth>')
  }
  return { service, name, id, birth }
}

/** Reads the header. Names from `node:http` are in lower case; those of a message are unchanged. */
function own(headers: object): unknown {
  return (headers as Readonly<Record<string, unknown>>)[TRANSACTION_HEADER]
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
