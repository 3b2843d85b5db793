/** Connection errors of `@platformatic/kafka`, and remedies for its users. */
import { toError } from '../../../core/errors.ts'
import type { TransportError, TransportErrorKind } from '../../errors.ts'
import { hasEndedBeforeTls, isTlsFailure } from '../../transport/tls-failure.ts'
import { DeadlineExceeded } from '../deadline.ts'
import { chain, type DriverErrors, hasType, toTransportError as translate } from '../errors.ts'

/** Connecting to a broker failed. No request was sent, so no outcome is unknown. */
export class ConnectFailed extends Error {
  override readonly name = 'KafkaConnectFailed'
  /** The protocol's name of the reason, if the broker gave one; `WRONG_OPTIONS` if no broker was contacted. */
  readonly type: string | undefined

  constructor(address: string, cause: unknown) {
    super(`no connection to ${address}: ${rootOf(cause).message}`, { cause })
    this.type = refusalIn(cause) ?? mistakeIn(cause)
  }
}

/** The connection ended during a request: whether it was executed is unknown. */
export class ConnectionLost extends Error {
  override readonly name = 'KafkaConnectionLost'

  constructor(what: string, address: string, cause: unknown) {
    super(`${what}: the connection to ${address} ended (${toError(cause).message})`, { cause })
  }
}

/** True if no broker could be contacted, or none answered; says nothing about earlier requests. */
export function isUnreachable(error: unknown): boolean {
  return (
    error instanceof ConnectFailed ||
    error instanceof ConnectionLost ||
    error instanceof DeadlineExceeded ||
    error instanceof AggregateError
  )
}

const WRONG_OPTIONS = 'WRONG_OPTIONS'
const NAMES: Readonly<Record<string, TransportErrorKind>> = { [WRONG_OPTIONS]: 'mismatch' }
const OF_PLATFORMATIC: DriverErrors = { names: NAMES, remedyFor }

/** @param attempted action for the message: `publish to "orders"` */
export function toTransportError(error: unknown, attempted: string, destination?: string): TransportError {
  return translate(error, attempted, destination, OF_PLATFORMATIC)
}

/** Returns a remedy where that of the kind would mislead. */
function remedyFor(error: unknown): string | undefined {
  if (isTlsFailure(chain(error)))
    return 'Check `tls` of `kafka` (the authority to trust, key and certificate in PEM) and the names in the certificate of the broker.'
  if (hasEndedBeforeTls(chain(error)))
    return 'Check that the brokers are up, and that this port speaks TLS, as `tls` of `kafka` says.'
  if (usersErrorIn(error) === NEEDS_TLS)
    return 'Give `tls` of `kafka`, or `bootstrapBrokers` of a port without it: this one speaks TLS.'
  if (hasType(error, WRONG_OPTIONS))
    return 'Check `Connection`, `tls` and `sasl` of `kafka`: trying again will not help.'
  if (hasType(error, 'ILLEGAL_SASL_STATE'))
    return 'The broker asks for no password at this port: check `bootstrapBrokers` and `sasl` of `kafka`.'
  if (hasType(error, 'INCONSISTENT_GROUP_PROTOCOL'))
    return (
      'A live member of the group shares partitions out by other rules (ours are the RoundRobinAssigner): start again when the ' +
      'last such member has left, or give this service another group.'
    )
  if (hasType(error, 'SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_SASL_MECHANISM'))
    return 'Check the user, the password and the mechanism (`sasl` of `kafka`).'
  return undefined
}

/**
 * Returns a mistake in the options. Errors that the class throws at once, and those that the library attributes to its user,
 * repeat at every attempt. Errors that depend on the other side do not: a port that uses TLS, a proxy, a function that could not
 * fetch a password.
 */
function mistakeIn(cause: unknown): string | undefined {
  const isThrown = cause instanceof TypeError || cause instanceof RangeError
  const users = usersErrorIn(cause)
  return isThrown || (users !== undefined && users !== NEEDS_TLS) ? WRONG_OPTIONS : undefined
}

const NEEDS_TLS = 'Broker requires TLS.'

/** Returns an error that the library attributes to its user, unless it has another cause. */
function usersErrorIn(error: unknown): unknown {
  const users = chain(error).find((each) => {
    const { code } = each as { readonly code?: unknown }
    return code === 'PLT_KFK_USER' && each.cause === undefined
  })
  return (users as { readonly message?: unknown } | undefined)?.message
}

/** Returns the protocol's name of an error, which the library has in `apiId`. */
function refusalIn(error: unknown): string | undefined {
  for (const each of chain(error)) {
    const { apiId } = each as { readonly apiId?: unknown }
    if (typeof apiId === 'string') return apiId
  }
  return undefined
}

/** Returns the cause, because "Connection failed." says less. */
function rootOf(error: unknown): Error {
  const causes = chain(error).filter((each) => each instanceof Error)
  return causes.at(-1) ?? toError(error)
}
