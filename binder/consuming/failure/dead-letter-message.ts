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
 * Dead letters are an ordinary channel `<channel>.<group>.dlq`: one partition, with the durable group `redrive` from the
 * start so that nothing in it is lost. Bytes and headers stay as they came; the `dead-letter-*` headers say what
 * happened and are replaced, not added, when it happens again. Those of a letter on which a reader of dead letters fails are kept
 * beside them as `dead-letter-of-*`.
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

/** Returns how a destination is kept, by its name: a reader and a writer of dead letters make the same place. */
export function heldIn(name: string): Pick<DestinationSpec, 'deadLetters' | 'keepsEach'> {
  return isDeadLetterName(name) ? LETTERS : {}
}

export const DEAD_LETTER_GROUP = 'redrive'

/** In a message that `redrive` sent back, the id of the run. */
export const REDRIVE_RUN: string = `${INTERNAL_PREFIX}redrive-run`

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

const PREFIX = DEAD_LETTER_PREFIX
/** In a dead letter, the run that put it there: by sending back what then failed again, or by keeping it. */
const PUT_BY_RUN = `${PREFIX}redrive-run`
/** In a dead letter of a reader of dead letters: what the letter that it failed on said. */
const LETTER_PREFIX = `${PREFIX}of-`
const MAX_MESSAGE_BYTES = 1_024
const MAX_TRIMMED_MESSAGE_BYTES = 256
const MAX_STACK_BYTES = 4_096
/** Longest media type in AMQP. */
const MAX_NAME = 255

/** The message that goes to the dead letter channel. */
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
 * The same without what a broker may have refused in it: headers beyond these bytes, the stack, overlong names. The body
 * stays.
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
    contentType: message.contentType.length <= MAX_NAME ? message.contentType : 'application/octet-stream',
    headers: Object.fromEntries([...kept, ...before, ...named(facts)]),
  }
}

/** The first headers that stay within a sender's limits. */
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

/** Returns the headers of the dead letter on which its reader failed: they tell one failure of a message from another. */
function factsBefore(message: EncodedMessage): readonly (readonly [string, HeaderValue])[] {
  if (!isDeadLetter(message)) return []
  return Object.entries(message.headers)
    .filter(([name]) => name.startsWith(PREFIX))
    .map(([name, value]) => [LETTER_PREFIX + name.slice(PREFIX.length), value] as const)
}

/** A name such as `__proto__` is one among others. */
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

/** Headers as they came, and what `dead-letter-*` says, by the rest of the name. */
export function deadLetterFacts(all: Headers): { readonly headers: Headers; readonly facts: Headers } {
  const headers: Array<[string, HeaderValue]> = []
  const facts: Array<[string, HeaderValue]> = []
  for (const [name, value] of Object.entries(all)) {
    if (name.startsWith(PREFIX)) facts.push([name.slice(PREFIX.length), value])
    else headers.push([name, value])
  }
  return { headers: Object.fromEntries(headers), facts: Object.fromEntries(facts) }
}

/** The same letter, put behind the others by a run that keeps it. */
export function keptByRun(letter: EncodedMessage, run: string): EncodedMessage {
  return { ...letter, headers: { ...letter.headers, [PUT_BY_RUN]: run } }
}

/** Whether this run itself put the letter at the end of the channel. */
export function isPutByRun({ headers }: EncodedMessage, run: string): boolean {
  return headers[PUT_BY_RUN] === run
}

/** Headers of the message that failed, which may have been a dead letter itself. */
export function headersBefore(letter: Headers): Headers {
  const { headers, facts } = deadLetterFacts(letter)
  const before = Object.entries(facts).filter(([name]) => name.startsWith('of-'))
  return {
    ...headers,
    ...Object.fromEntries(before.map(([name, value]) => [PREFIX + name.slice('of-'.length), value])),
  }
}
