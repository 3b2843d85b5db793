/** Errors of kafkajs besides those of Kafka's protocol, and remedies for its users. */
import type { TransportError, TransportErrorKind } from '../../errors.ts'
import { hasEndedBeforeTls, isTlsFailure } from '../../transport/tls-failure.ts'
import { chain, type DriverErrors, hasType, kindOf as kindAmong, toTransportError as translate } from '../errors.ts'

const NAMES: Readonly<Record<string, TransportErrorKind>> = {
  KafkaJSRequestTimeoutError: 'timeout',
  KafkaJSSASLAuthenticationError: 'refused',
}

const OF_KAFKAJS: DriverErrors = { names: NAMES, remedyFor }

/** @param attempted action for the message: `publish to "orders"` */
export function toTransportError(error: unknown, attempted: string, destination?: string): TransportError {
  return translate(error, attempted, destination, OF_KAFKAJS)
}

export function kindOf(error: unknown): TransportErrorKind {
  return kindAmong(error, NAMES)
}

/** Returns a remedy where that of the kind would mislead. */
function remedyFor(error: unknown): string | undefined {
  if (isTlsFailure(chain(error)))
    return 'Check `ssl` of new Kafka (the authority to trust, key and certificate in PEM) and the names in the certificate of the broker.'
  if (hasEndedBeforeTls(chain(error)))
    return 'Check that the brokers are up, and that this port speaks TLS, as `ssl` of new Kafka says.'
  if (isOptions(error))
    return 'Check `brokers`, `ssl` and `sasl` of new Kafka, and that the brokers are up: it is tried again.'
  if (hasType(error, 'ILLEGAL_SASL_STATE'))
    return (
      'The broker asks for no password at this port, or ends sessions sooner than kafkajs renews them: check `brokers` and `sasl` of new ' +
      'Kafka, and set `reauthenticationThreshold` below the lifetime of tokens and `connections.max.reauth.ms`.'
    )
  if (hasType(error, 'INCONSISTENT_GROUP_PROTOCOL'))
    return (
      'A live member of the group shares partitions out by other rules (ours are the RoundRobinAssigner): start again when the ' +
      'last such member has left, or give this service another group.'
    )
  const isDenied = chain(error).some(
    ({ name, type }) => name === 'KafkaJSSASLAuthenticationError' || type === 'SASL_AUTHENTICATION_FAILED',
  )
  return isDenied ? 'Check the user, the password and the mechanism (`sasl` of new Kafka).' : undefined
}

/**
 * True for errors that kafkajs throws before it contacts a broker, and those caused by unchecked options. It reads `ssl` and
 * calls `brokers` again for each connection, so a mistake may be fixed while it runs.
 */
function isOptions(error: unknown): boolean {
  return chain(error).some((each) => {
    if (each.name === 'TypeError') return true
    return each instanceof Error && each.message.startsWith('Failed to connect: ')
  })
}
