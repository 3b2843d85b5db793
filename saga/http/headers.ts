/**
 * Converts a command's headers to HTTP headers and back. Characters that HTTP cannot carry are percent-encoded, as CloudEvents
 * specify for their headers: a saga's id may contain any character. All values are text in HTTP.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values
 */
import type { EncodedMessage, Headers as MessageHeaders } from '../../binder/channel/message.ts'
import { HEADERS } from '../wire/wire.ts'

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Headers of the connection, of HTTP itself, or of the client. They never become headers of a message. */
const OWN =
  /^(?:accept.*|authorization|connection|content-.*|cookie|date|expect|forwarded|host|keep-alive|origin|proxy-.*|sec-.*|te|trailer|transfer-encoding|upgrade|user-agent|via|x-forwarded-.*|ce-.*|concordat-.*)$/i
/** Headers of a command that are numbers. */
const NUMBERS: ReadonlySet<string> = new Set([HEADERS.attempt, HEADERS.round])
const NUMBER = /^\d{1,15}$/

/** Returns the headers of the request that carries this command, without those whose names HTTP does not allow. */
export function requestHeaders(message: EncodedMessage): Record<string, string> {
  const carried = Object.entries(message.headers).flatMap(([name, value]) => {
    const isText = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    return isText && TOKEN.test(name) && !OWN.test(name) ? [[name.toLowerCase(), encoded(String(value))]] : []
  })
  return {
    ...(Object.fromEntries(carried) as Record<string, string>),
    'content-type': message.contentType,
    'ce-specversion': '1.0',
    'ce-id': encoded(message.id),
    'ce-type': encoded(message.type),
    'ce-source': encoded(message.source),
    'ce-time': new Date(message.time).toISOString(),
  }
}

/** Returns the message in a request, without its body and without credentials and other headers of HTTP itself. */
export function messageOf(headers: Headers, destination: string): Omit<EncodedMessage, 'body'> {
  const text = (name: string): string => decoded(headers.get(name) ?? '') ?? ''
  const time = Date.parse(headers.get('ce-time') ?? '')
  return {
    id: text('ce-id'),
    destination,
    key: text(HEADERS.id) || null,
    type: text('ce-type') || destination,
    source: text('ce-source'),
    contentType: headers.get('content-type') ?? '',
    time: Number.isNaN(time) ? 0 : time,
    headers: commandHeadersOf(headers),
  }
}

/**
 * Returns the command headers of a request. Headers that cannot be decoded are omitted, so the check for required headers reports
 * them.
 */
export function commandHeadersOf(headers: Headers): MessageHeaders {
  const read = [...headers].flatMap(([name, value]) => {
    if (OWN.test(name)) return []
    if (NUMBERS.has(name)) return NUMBER.test(value) ? [[name, Number(value)]] : []
    const text = decoded(value)
    return text === undefined ? [] : [[name, text]]
  })
  return Object.fromEntries(read) as MessageHeaders
}

export function encoded(value: string): string {
  return value.toWellFormed().replaceAll(/[^\x21\x23\x24\x26-\x7e]/gu, (character) => encodeURIComponent(character))
}

export function decoded(value: string): string | undefined {
  try {
    return decodeURIComponent(value)
  } catch {
    return undefined
  }
}
