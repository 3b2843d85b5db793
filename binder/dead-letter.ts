import { toError } from '../core/errors.ts'
import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from './message.ts'
import type { DestinationSpec } from './transport.ts'

/**
 * Dead letters are an ordinary channel `<channel>.<group>.dlq`: one partition, with the durable group `redrive` from the
 * start so that nothing in it is lost. Bytes and headers stay as they came; the `dead-letter-*` headers say what
 * happened and are replaced, not added, when it happens again.
 */
export function deadLetterSpec(destination: string, group: string): DestinationSpec {
  return { name: deadLetterName(destination, group), partitions: 1, groups: [DEAD_LETTER_GROUP], deadLetters: true }
}

export const DEAD_LETTER_GROUP = 'redrive'

/**
 * The type of the message that `redrive` puts behind the letters that lie there. Each run takes its own away; one that a
 * killed run left behind is nothing, whoever reads it.
 */
export const REDRIVE_END = 'concordat.redrive.end'

export function deadLetterName(destination: string, group: string): string {
  return `${destination}.${group}.dlq`
}

export interface Failure {
  readonly error: unknown
  /** Handler calls made; 0 when the payload never reached the handler. */
  readonly attempts: number
  readonly group: string
  readonly position: string
  readonly service: string
  /** Epoch ms. */
  readonly at: number
}

const PREFIX = 'dead-letter-'
const MAX_MESSAGE_BYTES = 1_024
const MAX_STACK_BYTES = 4_096

/** The message that goes to the dead letter channel. */
export function toDeadLetter(message: EncodedMessage, failure: Failure): EncodedMessage {
  return {
    ...message,
    destination: deadLetterName(message.destination, failure.group),
    headers: deadLetterHeaders(message, failure),
  }
}

function deadLetterHeaders(message: EncodedMessage, failure: Failure): Headers {
  const headers: Record<string, HeaderValue> = {}
  for (const [name, value] of Object.entries(message.headers)) {
    if (!name.startsWith(PREFIX) && !name.startsWith(INTERNAL_PREFIX)) headers[name] = value
  }
  const error = toError(failure.error)
  headers[`${PREFIX}channel`] = message.destination
  headers[`${PREFIX}group`] = failure.group
  headers[`${PREFIX}position`] = failure.position
  headers[`${PREFIX}time`] = new Date(failure.at).toISOString()
  headers[`${PREFIX}attempts`] = failure.attempts
  headers[`${PREFIX}service`] = failure.service
  headers[`${PREFIX}error-name`] = cut(error.name, 128)
  headers[`${PREFIX}error-message`] = cut(error.message, MAX_MESSAGE_BYTES)
  headers[`${PREFIX}error-stack`] = cut(error.stack ?? '', MAX_STACK_BYTES)
  if ('code' in error && typeof error.code === 'string') headers[`${PREFIX}error-code`] = cut(error.code, 128)
  return headers
}

/** Headers as they came, and what `dead-letter-*` says, by the rest of the name. */
export function deadLetterFacts(all: Headers): { readonly headers: Headers; readonly facts: Headers } {
  const headers: Record<string, HeaderValue> = {}
  const facts: Record<string, HeaderValue> = {}
  for (const [name, value] of Object.entries(all)) {
    if (name.startsWith(PREFIX)) facts[name.slice(PREFIX.length)] = value
    else headers[name] = value
  }
  return { headers, facts }
}

export function withoutDeadLetterFacts(headers: Headers): Headers {
  return deadLetterFacts(headers).headers
}

/** At most `maxBytes` of UTF-8, never half a character. */
function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text)
  if (bytes.byteLength <= maxBytes) return text
  return new TextDecoder('utf-8').decode(bytes.subarray(0, maxBytes), { stream: true })
}
