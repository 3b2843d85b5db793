import { type Clock, MINUTE } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { TransportError, type TransportErrorKind } from '../errors.ts'
import { within as withinDeadline } from '../transport/kit/deadline.ts'
import { type Failure, failureOf } from '../transport/kit/transport-error-factory.ts'
import { hasEndedBeforeTls, isTlsFailure } from '../transport/tls-failure.ts'

export const TRANSPORT = 'rabbitmq'

export const failure: Failure = failureOf(TRANSPORT)

/** Rights are granted and revoked while services run: tried again, as after a wrong password. */
export const RIGHTS =
  'Grant the user configure, write and read on it (`rabbitmqctl set_permissions`), or use another name; it is tried again.'

/** Returns the AMQP reply code of an amqplib error, including a refused handshake, which contains it only in its text. */
export function replyCodeOf(cause: unknown): number | undefined {
  if (!(cause instanceof Error)) return undefined
  if ('code' in cause && typeof cause.code === 'number') return cause.code
  const match = /^Handshake terminated by server: (\d{3})/.exec(cause.message)
  return match === null ? undefined : Number(match[1])
}

/** Converts any error of a request to the broker to the transport's error; `what` completes "could not". */
export function toTransportError(what: string, cause: unknown, destination?: string): TransportError {
  if (cause instanceof TransportError) return cause
  const { kind, remedy } = verdict(cause)
  return failure(kind, `could not ${what}: ${toError(cause).message}. ${remedy}`, { destination, cause })
}

const ACK_TIMEOUT = /delivery acknowledgement .*timed out\. Timeout value used: (\d+) ms/

/** Explains why the broker closed a consumer's channel. Its own message does not name the setting. */
export function closedBecause(error: Error): Error {
  const timeoutMs = ACK_TIMEOUT.exec(error.message)?.[1]
  if (timeoutMs === undefined) return error
  const text =
    `RabbitMQ consumer_timeout of ${Number(timeoutMs) / MINUTE} min: a message was not settled in that time after it was handed ` +
    'to this process. Lower `prefetch`, which counts the wait behind others, or raise consumer_timeout of the broker.'
  return failure('unavailable', text, { cause: error })
}

function verdict(cause: unknown): { kind: TransportErrorKind; remedy: string } {
  switch (replyCodeOf(cause)) {
    case 402:
    case 530:
      return { kind: 'refused', remedy: 'Check the virtual host and its limits.' }
    case 403:
      return handshake(cause)
        ? {
            kind: 'refused',
            remedy: 'Check the user and password, or with EXTERNAL that the certificate names a user.',
          }
        : { kind: 'refused', remedy: RIGHTS }
    case 404:
      // Worth another try: a deleted object is created again then, unless the provision mode forbids it.
      return { kind: 'unavailable', remedy: "Make it as binder.describe() says, or use provision: 'create'." }
    case 405:
    case 406:
      return {
        kind: 'mismatch',
        remedy: 'What exists on the broker was declared otherwise: align the options, or delete it once it is drained.',
      }
    default:
      if (isTlsFailure([cause, cause instanceof Error ? cause.cause : undefined]))
        return {
          kind: 'unavailable',
          remedy:
            'Check the authority to trust and the certificate of your own (`tls` of rabbitTransport), and the names in ' +
            'the certificate of RabbitMQ.',
        }
      if (isHostRefused(cause))
        return { kind: 'refused', remedy: 'Check the virtual host in the address, and that the user may use it.' }
      return { kind: 'unavailable', remedy: remedyFor(cause) }
  }
}

/** Remedy for a connection with too few channels. */
export const CHANNELS =
  'Raise channel_max of RabbitMQ (and channelMax of the address, if it names one), give bindings fewer partitions, or divide the bindings between ' +
  'several binders, each with a transport and a connection of its own.'

function remedyFor(cause: unknown): string {
  if (cause instanceof Error && cause.message.startsWith('No channels left to allocate')) return CHANNELS
  if (hasEndedBeforeTls([cause])) return 'Check that RabbitMQ is up, and that this port speaks TLS, as amqps:// says.'
  // The program's functions are called for each connection, so their result may be right the next time.
  if (cause instanceof TypeError) return 'Check what `tls` and `connect` of rabbitTransport give: they are asked again.'
  return 'Check that RabbitMQ is up and reachable.'
}

/** amqplib 2 requests the virtual host last, and only keeps of a refusal that it was unexpected. */
function isHostRefused(cause: unknown): boolean {
  return cause instanceof Error && cause.message.startsWith('Expected ConnectionOpenOk; got <ConnectionClose')
}

function handshake(cause: unknown): boolean {
  return cause instanceof Error && cause.message.startsWith('Handshake')
}

/** Returns `promise`, or a `timeout` error after `durationMs`. Later results are ignored. */
export function within<T>(clock: Clock, durationMs: number, what: string, promise: Promise<T>): Promise<T> {
  return withinDeadline(clock, durationMs, promise, () =>
    failure('timeout', `could not ${what}: RabbitMQ did not answer within ${durationMs} ms`),
  )
}
