import { requireInteger, requireText, show } from '../core/errors.ts'
import { currentLease } from './current-lease.ts'
import { LockError } from './errors.ts'

/** A lock and its granted token: of a lease, of an election's term, or read from a message. */
export interface LeaseToken {
  readonly key: string
  readonly token: number
}

/** Message headers that identify a lease. @see docs/reference/wire-format.md */
export const LEASE_HEADERS: Readonly<{ key: 'lock-key'; token: 'lock-token' }> = Object.freeze({
  key: 'lock-key',
  token: 'lock-token',
})

/**
 * Returns headers that tell consumers under which lock a message was sent; none without a lease. The token is a decimal string,
 * exact in every language. For all messages: `createBinder({ headers: () => leaseHeaders() })`.
 * @throws TypeError / RangeError for a value without a valid key and token
 * @param lease a lease, a term, or the result of `leaseFromHeaders` @default currentLease()
 */
export function leaseHeaders(lease: LeaseToken | undefined = currentLease()): Readonly<Record<string, string>> {
  if (lease === undefined) return {}
  const key = requireText('leaseHeaders.key', lease.key)
  return {
    [LEASE_HEADERS.key]: key,
    [LEASE_HEADERS.token]: String(requireInteger('leaseHeaders.token', lease.token, 1)),
  }
}

/**
 * Reads these headers; `undefined` without any. They are only a claim of the sender: compare the key with the lock that you
 * expect, and use your own name for the fence.
 * @throws `locks.lease_headers` for an incomplete or malformed pair; not retryable, so the message becomes a dead letter
 */
export function leaseFromHeaders(headers: Readonly<Record<string, unknown>>): LeaseToken | undefined {
  const key = own(headers, LEASE_HEADERS.key)
  const token = own(headers, LEASE_HEADERS.token)
  if (key === undefined && token === undefined) return undefined
  if (typeof key !== 'string' || key.length === 0) {
    throw new LockError('locks.lease_headers', {
      header: LEASE_HEADERS.key,
      value: show(key),
      expected: 'the key of the lock, a non-empty text',
    })
  }
  return { key, token: parseToken(token) }
}

/** Accepts only the form that `String` writes: no sign, fraction, exponent, leading zero or space. */
function parseToken(text: unknown): number {
  const token = typeof text === 'string' && /^[1-9][0-9]{0,15}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(token)) return token
  throw new LockError('locks.lease_headers', {
    header: LEASE_HEADERS.token,
    value: show(text),
    expected: 'a whole number from 1 to 2^53 - 1 as decimal text',
  })
}

function own(headers: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(headers, name) ? headers[name] : undefined
}
