import type { EncodedMessage } from '../../channel/message.ts'
import type { TransportError, TransportErrorKind } from '../../errors.ts'
import { failure, RIGHTS, replyCodeOf } from '../transport-errors.ts'

/** Outcomes of unconfirmed messages. Pure; one function per outcome. */

const name = ({ id, destination }: EncodedMessage): string => `message ${id} to "${destination}"`

/** The broker's own text, if there is any. */
const wordsOf = (cause: Error | undefined): string => (cause === undefined ? '' : ` (${cause.message})`)

export const closedBefore = (message: EncodedMessage): TransportError =>
  failure('closed', `the transport was closed before RabbitMQ confirmed ${name(message)}; it may have arrived`, message)

export const notProvisioned = (message: EncodedMessage): TransportError =>
  failure('unroutable', `"${message.destination}" was not provisioned: provision it before publishing to it`, message)

export const onQueues = (message: EncodedMessage): TransportError =>
  failure(
    'unroutable',
    `"${message.destination}" lies on several queues: to send to it, name an exchange in rabbitTransport.places`,
    message,
  )

export const nacked = (message: EncodedMessage, cause: Error): TransportError =>
  failure('refused', `RabbitMQ refused ${name(message)} (nack): its queue is full or failed`, {
    destination: message.destination,
    cause,
  })

export const unroutable = (message: EncodedMessage): TransportError =>
  failure(
    'unroutable',
    `no queue gets ${name(message)}. Name its groups in defineChannel(..., { groups: [...] }) or start a consumer ` +
      "first; rabbitTransport({ unroutable: 'accept' }) drops such messages instead.",
    message,
  )

export const lost = (message: EncodedMessage, cause: Error | undefined): TransportError =>
  failure(
    'unavailable',
    `the connection was lost before RabbitMQ confirmed ${name(message)}; it may have arrived${wordsOf(cause)}`,
    {
      destination: message.destination,
      cause,
    },
  )

export const behindLost = (message: EncodedMessage, cause: Error | undefined): TransportError =>
  failure(
    'unavailable',
    `${name(message)} was not sent: an earlier one of its key was lost with the connection${wordsOf(cause)}`,
    {
      destination: message.destination,
      cause,
    },
  )

export const behindUnanswered = (message: EncodedMessage, timeoutMs: number): TransportError =>
  failure(
    'unavailable',
    `${name(message)} was not sent: RabbitMQ did not answer earlier messages within ${timeoutMs} ms`,
    message,
  )

export const blocked = (message: EncodedMessage, timeoutMs: number, reason: string): TransportError =>
  failure('refused', `${name(message)} was not sent within ${timeoutMs} ms: ${alarm(reason)}`, message)

const alarm = (reason: string): string =>
  `RabbitMQ takes no messages (${reason}). Let consumers catch up, or free its memory or disk.`

/** @param reason of the broker's alarm, if there is one */
export const unanswered = (
  message: EncodedMessage,
  timeoutMs: number,
  cause: Error | undefined,
  reason?: string,
): TransportError =>
  failure(
    'timeout',
    `${name(message)} was not confirmed within ${timeoutMs} ms; it may have arrived` +
      (reason === undefined ? wordsOf(cause) : `. ${alarm(reason)}`),
    {
      destination: message.destination,
      cause,
    },
  )

export const unreached = (message: EncodedMessage, timeoutMs: number, cause: Error | undefined): TransportError =>
  failure(
    'unavailable',
    `${name(message)} was not sent: RabbitMQ was not reached within ${timeoutMs} ms${wordsOf(cause)}`,
    {
      destination: message.destination,
      cause,
    },
  )

/** The broker closed the channel because of exactly this message. */
export const rejected = (message: EncodedMessage, cause: Error): TransportError => {
  const kind = rejectionOf(cause)
  const remedy = kind === 'refused' ? `. ${RIGHTS}` : kind === 'too_large' ? `. ${SMALLER}` : ''
  return failure(kind, `RabbitMQ closed the channel over ${name(message)}: ${cause.message}${remedy}`, {
    destination: message.destination,
    cause,
  })
}

const SMALLER = 'Raise max_message_size of RabbitMQ, or send a reference to the data.'

function rejectionOf(cause: Error): TransportErrorKind {
  if (/message size/.test(cause.message)) return 'too_large'
  switch (replyCodeOf(cause)) {
    case ACCESS_REFUSED:
      return 'refused'
    case NOT_FOUND:
      return 'unroutable'
    case INTERNAL_ERROR:
      return 'unavailable'
    default:
      return 'mismatch'
  }
}

const ACCESS_REFUSED = 403
const NOT_FOUND = 404
const INTERNAL_ERROR = 541

/** amqplib or our own limits do not allow writing it. */
export const unwritable = (message: EncodedMessage, maxBytes: number, cause: Error): TransportError => {
  const context = { destination: message.destination, cause }
  return cause instanceof RangeError
    ? failure(
        'too_large',
        `${name(message)} does not fit: ${cause.message}. Keep the body under maxMessageBytes (${maxBytes}) and the ` +
          'headers under 64 KiB, or send a reference to it.',
        context,
      )
    : failure('mismatch', `${name(message)} cannot be sent over AMQP: ${cause.message}`, context)
}
