/**
 * What is the same about foreign messages on every transport: events in structured mode, attributes out of bounds, times.
 * Pure; for input of anybody, so nothing here throws.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
 */
import { createHash } from 'node:crypto'
import { isShallow } from '../../core/json-depth-limit.ts'
import type { EncodedMessage, Headers, HeaderValue } from '../channel/message.ts'

/** Limit of ids, sources and types: an inbox's index has to hold them. */
const MAX_ATTRIBUTE_LENGTH = 255
/** `Date` knows no instant beyond. */
const MAX_TIME = 8.64e15
const SHORTEST_STRUCTURED = 'application/cloudevents'.length

/** True for `application/cloudevents+json` and its relatives: the body is the whole event, not its data. */
export function isStructured(contentType: string): boolean {
  return contentType.length >= SHORTEST_STRUCTURED && /^application\/cloudevents/i.test(contentType)
}

/**
 * The event of a message in structured mode (JSON), as if it had come in binary mode: `data` or `data_base64` is the
 * body, extension attributes are headers, headers of the transport stay and win. Any other message, and one that is no
 * valid event, comes back as it is.
 */
export function unfoldStructured(message: EncodedMessage): EncodedMessage {
  if (!isStructured(message.contentType)) return message
  try {
    const event = parseEvent(message)
    return event === undefined ? message : toMessage(message, event)
  } catch {
    return message
  }
}

/** Why a message in structured mode has no payload to decode. */
export const NOT_AN_EVENT =
  'is in structured mode, but not one JSON event of CloudEvents 1.0 with an id, a source and a type ' +
  '(batches and other event formats are not read): send application/cloudevents+json, or binary mode'

type Event = Readonly<Record<string, unknown>> & { readonly id: string; readonly source: string; readonly type: string }

function parseEvent({ contentType, body }: EncodedMessage): Event | undefined {
  if (body === null || !/^application\/cloudevents\+json\s*(;|$)/i.test(contentType)) return undefined
  if (!isShallow(body)) return undefined
  const event = parseExactly(new TextDecoder('utf-8', { fatal: true }).decode(body))
  if (typeof event !== 'object' || event === null) return undefined
  const { specversion, id, source, type } = event as Readonly<Record<string, unknown>>
  const isEvent = typeof specversion === 'string' && specversion.startsWith('1.')
  if (!isEvent || !isText(id) || !isText(source) || !isText(type)) return undefined
  return 'data' in event && 'data_base64' in event ? undefined : (event as Event)
}

/** May stand in a JSON text whose numbers are not all what `JSON.parse` makes of them. */
const INEXACT = /[\d.]{16}|\d[eE][-+]?\d|-0/

interface RawJson {
  readonly rawJSON: (text: string) => unknown
}

/** Parses as `JSON.parse` does, but a number that would lose digits keeps its text, which `JSON.stringify` writes. */
function parseExactly(text: string): unknown {
  if (!INEXACT.test(text)) return JSON.parse(text)
  const { rawJSON } = JSON as unknown as RawJson
  const keep = (_key: string, value: unknown, { source }: { readonly source?: string } = {}): unknown =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? rawJSON(source) : value
  return JSON.parse(text, keep)
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

function toMessage(message: EncodedMessage, event: Event): EncodedMessage {
  const { datacontenttype, partitionkey, time } = event
  const contentType = isText(datacontenttype) ? datacontenttype : 'application/json'
  return {
    ...message,
    id: bounded(event.id),
    key: message.key ?? (typeof partitionkey === 'string' ? partitionkey : null),
    type: bounded(event.type),
    source: bounded(event.source),
    contentType,
    time: instantOf(time) ?? message.time,
    headers: { ...extensionsOf(event), ...message.headers },
    body: bodyOf(event, contentType),
  }
}

/** Attributes with a place of their own in a message. */
const KNOWN: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'time',
  'datacontenttype',
  'partitionkey',
  'data',
  'data_base64',
])

function extensionsOf(event: Event): Headers {
  const headers: Array<[string, HeaderValue]> = []
  for (const [name, value] of Object.entries(event)) {
    if (KNOWN.has(name) || value === null) continue
    const isPlain = typeof value === 'number' || typeof value === 'boolean'
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    // Half a surrogate pair that JSON has escaped could not be sent on.
    headers.push([name, isPlain ? value : text.toWellFormed()])
  }
  return Object.fromEntries(headers)
}

/** `data` is JSON unless its media type says otherwise; then a text is meant as it is. */
function bodyOf(event: Event, contentType: string): Uint8Array | null {
  const { data, data_base64: base64 } = event
  if (typeof base64 === 'string') return new Uint8Array(Buffer.from(base64, 'base64'))
  if (data === undefined) return null
  const isJson = /^[^;]*[/+]json\s*(;|$)/i.test(contentType)
  return new TextEncoder().encode(typeof data === 'string' && !isJson ? data : JSON.stringify(data))
}

/**
 * Shortens an attribute of a foreign sender. One that is too long to store, holds a NUL, or that UTF-8 cannot encode (encoding could
 * make two of them equal), is replaced by its SHA-256, which is the same for each redelivery.
 */
export function bounded(attribute: string): string {
  const isWellFormed = attribute.isWellFormed()
  if (isWellFormed && attribute.length <= MAX_ATTRIBUTE_LENGTH && !attribute.includes('\0')) return attribute
  const bytes = isWellFormed ? Buffer.from(attribute) : Buffer.from(attribute, 'utf16le')
  return `sha256-${createHash('sha256').update(bytes).digest('hex')}`
}

/** An RFC 3339 time with any offset in epoch ms; `undefined` for anything else. */
export function instantOf(text: unknown): number | undefined {
  if (typeof text !== 'string' || text.charCodeAt(4) !== DASH || text.charCodeAt(7) !== DASH) return undefined
  return ofKnownMinute(text) ?? parseInstant(text)
}

/** The minute of the last time read, `2026-11-20T16:17:`, and when it began: messages come in the order of time. */
let minute = 'none'
let minuteAt = Number.NaN

function parseInstant(text: string): number | undefined {
  const time = Date.parse(text)
  if (Number.isNaN(time)) return undefined
  const past = millisecondsOf(text)
  if (past !== undefined && !text.startsWith('24', 11)) {
    minute = text.slice(0, 17)
    minuteAt = time - past
  }
  return time
}

/** `Date.parse` takes longer than all else that is read of a message together. */
function ofKnownMinute(text: string): number | undefined {
  const past = text.startsWith(minute) ? millisecondsOf(text) : undefined
  return past === undefined ? undefined : minuteAt + past
}

/** Milliseconds within the minute, for the format of `Date.prototype.toISOString`; `undefined` for any other. */
function millisecondsOf(text: string): number | undefined {
  if (text.length !== 24 || text[16] !== ':' || text[19] !== '.' || text[23] !== 'Z') return undefined
  let past = 0
  for (const at of MILLISECOND_DIGITS) {
    const digit = text.charCodeAt(at) - ZERO
    if (digit < 0 || digit > 9) return undefined
    past = past * 10 + digit
  }
  return past < 60_000 ? past : undefined
}

const MILLISECOND_DIGITS = [17, 18, 20, 21, 22] as const
const ZERO = 0x30
const DASH = 0x2d

/** The first of these that is an instant, in epoch ms; 0 when none is. */
export function firstInstant(...candidates: readonly (number | undefined)[]): number {
  return candidates.find(isInstant) ?? 0
}

/** Whether a `Date` can hold it. */
export function isInstant(time: number | undefined): time is number {
  return time !== undefined && Math.abs(time) <= MAX_TIME
}
