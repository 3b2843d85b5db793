import { cutUtf8 } from '../../../core/cut-utf8.ts'
import { said, toError } from '../../../core/errors.ts'
import { fieldOf } from '../../../core/thrown-values.ts'
import { deadLetterName, isDeadLetterName } from '../../channel/dead-letter-name.ts'
import { DEAD_LETTER_PREFIX, isDeadLetter } from '../../channel/id-namespace.ts'
import {
  type EncodedMessage,
  type Headers,
  type HeaderValue,
  INTERNAL_PREFIX,
  MAX_HEADER_BYTES,
  MAX_HEADERS,
} from '../../channel/message.ts'
import { bounded } from '../../transport/foreign-cloud-events.ts'
import type { DestinationSpec } from '../../transport/transport.ts'

/**
 * Spec of a dead letter channel: an ordinary channel `<channel>.<group>.dlq` with one partition and, from the start, the durable
 * group `redrive`, so that nothing in it is lost. Bytes and headers of messages are unchanged; the `dead-letter-*` headers
 * describe the failure, and are replaced at the next one. If a reader of dead letters fails on a letter, the letter's own are
 * kept as `dead-letter-of-*`.
 */
export function deadLetterSpec(destination: string, group: string): DestinationSpec {
  return {
    name: deadLetterName(destination, group),
    partitions: 1,
    groups: [DEAD_LETTER_GROUP],
    ...LETTERS,
  }
}

const LETTERS = { deadLetters: true, keepsEach: true } as const

/** Returns properties of a destination by its name, so that readers and writers of dead letters create the same one. */
export function heldIn(name: string): Pick<DestinationSpec, 'deadLetters' | 'keepsEach'> {
  return isDeadLetterName(name) ? LETTERS : {}
}

export const DEAD_LETTER_GROUP = 'redrive'

/** Header of a message that `redrive` sent back, with the id of the run. */
export const REDRIVE_RUN: string = `${INTERNAL_PREFIX}redrive-run`

export interface Failure {
  readonly error: unknown
  /** Number of handler calls; 0 when the payload never reached the handler. */
  readonly attempts: number
  readonly group: string
  readonly position: string
  readonly service: string
  /** Epoch ms. */
  readonly at: number
}

const PREFIX = DEAD_LETTER_PREFIX
/**
 * Header of a dead letter with the run that put it there: by sending back a message that failed again, or by keeping the letter.
 */
const PUT_BY_RUN = `${PREFIX}redrive-run`
/** Prefix in a dead letter of a reader of dead letters, for facts about the letter that it failed on. */
const LETTER_PREFIX = `${PREFIX}of-`
const MAX_MESSAGE_BYTES = 1_024
const MAX_TRIMMED_MESSAGE_BYTES = 256
const MAX_STACK_BYTES = 4_096
/** Longest media type in AMQP, in bytes. */
const MAX_NAME = 255

/** Creates the message for the dead letter channel. */
export function toDeadLetter(message: EncodedMessage, failure: Failure): EncodedMessage {
  return {
    ...message,
    destination: deadLetterName(message.destination, failure.group),
    headers: deadLetterHeaders(message, failure),
  }
}

/** Header limits to try, one after the other, when the broker refuses a dead letter. */
export const TRIMMED_HEADER_BYTES: readonly number[] = [MAX_HEADER_BYTES, 0]

/**
 * Creates the message without parts that a broker may have refused: headers beyond these bytes, the stack, overlong names. The
 * body stays.
 */
export function toTrimmedDeadLetter(message: EncodedMessage, failure: Failure, headerBytes: number): EncodedMessage {
  const own = ownHeaders(message)
  const kept = trimmed(own, headerBytes)
  const { 'error-stack': _, ...rest } = factsOf(message, failure, MAX_TRIMMED_MESSAGE_BYTES)
  const facts = { ...rest, 'headers-dropped': own.length - kept.length }
  const before = factsBefore(message).filter(([name]) => !/-error-(message|stack)$/.test(name))
  return {
    ...message,
    destination: deadLetterName(message.destination, failure.group),
    key: message.key === null || message.keyBytes !== undefined ? message.key : bounded(message.key),
    contentType: Buffer.byteLength(message.contentType) <= MAX_NAME ? message.contentType : 'application/octet-stream',
    headers: Object.fromEntries([...kept, ...trimmed(before, MAX_HEADER_BYTES), ...named(facts)]),
  }
}

/** Returns the first headers that stay within a sender's limits. */
function trimmed(
  headers: readonly (readonly [string, HeaderValue])[],
  maxBytes: number,
): readonly (readonly [string, HeaderValue])[] {
  let bytes = 0
  return headers
    .filter(([name, value]) => {
      const size = name.length + (value instanceof Uint8Array ? value.byteLength : Buffer.byteLength(String(value)))
      const fits = /^[\x21-\x7e]{1,128}$/.test(name) && bytes + size <= maxBytes
      if (fits) bytes += size
      return fits
    })
    .slice(0, MAX_HEADERS)
}

function deadLetterHeaders(message: EncodedMessage, failure: Failure): Headers {
  const facts = named(factsOf(message, failure, MAX_MESSAGE_BYTES))
  return Object.fromEntries([...ownHeaders(message), ...factsBefore(message), ...facts])
}

/** Returns facts about the dead letter on which its reader failed, which distinguish one failure of a message from another. */
function factsBefore(message: EncodedMessage): readonly (readonly [string, HeaderValue])[] {
  if (!isDeadLetter(message)) return []
  return Object.entries(message.headers)
    .filter(([name]) => name.startsWith(PREFIX))
    .map(([name, value]) => [LETTER_PREFIX + name.slice(PREFIX.length), value] as const)
}

/** A name such as `__proto__` is treated like any other. */
function ownHeaders({ headers }: EncodedMessage): readonly (readonly [string, HeaderValue])[] {
  return Object.entries(headers).filter(([name]) => !name.startsWith(PREFIX) && !name.startsWith(INTERNAL_PREFIX))
}

function named(facts: Readonly<Record<string, HeaderValue>>): readonly (readonly [string, HeaderValue])[] {
  return Object.entries(facts).map(([name, value]) => [PREFIX + name, value] as const)
}

function factsOf(
  message: EncodedMessage,
  failure: Failure,
  maxMessageBytes: number,
): Readonly<Record<string, HeaderValue>> {
  const error = toError(failure.error)
  const code = fieldOf(error, 'code')
  return {
    channel: message.destination,
    group: failure.group,
    position: failure.position,
    time: new Date(failure.at).toISOString(),
    attempts: failure.attempts,
    service: failure.service,
    'error-name': cutUtf8(said(error, 'name'), 128),
    'error-message': cutUtf8(said(error, 'message'), maxMessageBytes),
    'error-stack': cutUtf8(said(error, 'stack'), MAX_STACK_BYTES),
    ...(typeof message.headers[REDRIVE_RUN] === 'string'
      ? { 'redrive-run': cutUtf8(message.headers[REDRIVE_RUN], 64) }
      : {}),
    ...(typeof code === 'string' ? { 'error-code': cutUtf8(code, 128) } : {}),
  }
}

/** Separates the original headers from the facts in `dead-letter-*`, by the rest of their names. */
export function deadLetterFacts(all: Headers): { readonly headers: Headers; readonly facts: Headers } {
  const headers: Array<[string, HeaderValue]> = []
  const facts: Array<[string, HeaderValue]> = []
  for (const [name, value] of Object.entries(all)) {
    if (name.startsWith(PREFIX)) facts.push([name.slice(PREFIX.length), value])
    else headers.push([name, value])
  }
  return { headers: Object.fromEntries(headers), facts: Object.fromEntries(facts) }
}

/** Returns the letter as appended to the channel by a run that keeps it. */
export function keptByRun(letter: EncodedMessage, run: string): EncodedMessage {
  return { ...letter, headers: { ...letter.headers, [PUT_BY_RUN]: run } }
}

/** Tells whether this run itself appended the letter to the channel. */
export function isPutByRun({ headers }: EncodedMessage, run: string): boolean {
  return headers[PUT_BY_RUN] === run
}

/** Returns the headers of the failed message, which may have been a dead letter itself. */
export function headersBefore(letter: Headers): Headers {
  const { headers, facts } = deadLetterFacts(letter)
  const before = Object.entries(facts).filter(([name]) => name.startsWith('of-'))
  return {
    ...headers,
    ...Object.fromEntries(before.map(([name, value]) => [PREFIX + name.slice('of-'.length), value])),
  }
}
