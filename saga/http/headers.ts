/**
 * A command's headers as those of an HTTP request, and back. What HTTP could not carry is percent-encoded, as CloudEvents say
 * for their headers: a saga's id may hold any character. All values are text there.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values
 */
import type { EncodedMessage, Headers as MessageHeaders } from '../../binder/channel/message.ts'
import { HEADERS } from '../wire/wire.ts'

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Headers of the connection, of HTTP itself, or of the client: a message's headers are never among them. */
const OWN =
  /^(?:accept.*|authorization|connection|content-.*|cookie|date|expect|forwarded|host|keep-alive|origin|proxy-.*|sec-.*|te|trailer|transfer-encoding|upgrade|user-agent|via|x-forwarded-.*|ce-.*|concordat-.*)$/i
/** Numbers among a command's headers. */
const NUMBERS: ReadonlySet<string> = new Set([HEADERS.attempt, HEADERS.round])
const NUMBER = /^\d{1,15}$/

/** The headers of the request that carries this command; those that HTTP has no name for are left out. */
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

/** The message that a request carries, without its body. Credentials and all else that is HTTP's own stay outside. */
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

/** The headers of the command that a request is. What cannot be decoded is left out, so that it is missed. */
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
