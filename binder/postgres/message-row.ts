/** Converts a message to columns of the log, and back. */
import { headerFromJson, headerToJson, isJsonObject, toBase64 } from '../channel/json-header.ts'
import type { EncodedMessage, Headers, HeaderValue } from '../channel/message.ts'
import { bounded, firstInstant, instantOf, unfoldStructured } from '../transport/foreign-cloud-events.ts'

/**
 * Returns the `meta` column: everything except key and body as `[id, type, source, contentType, time, headers?, keyBytes?]`,
 * short, and read in one step. Header values keep their types (`json-header.ts`).
 */
export function metaOf(message: EncodedMessage): string {
  const { id, type, source, contentType, time, headers, keyBytes } = message
  const names = Object.keys(headers)
  if (names.length === 0 && keyBytes === undefined && Number.isFinite(time))
    return inAscii(`[${JSON.stringify(id)},${constantOf(message)},${time}]`)
  const meta: unknown[] = [id, type, source, contentType, time]
  if (names.length > 0 || keyBytes !== undefined)
    meta.push(Object.fromEntries(names.map((name) => [name, headerToJson(headers[name] as HeaderValue)])))
  if (keyBytes !== undefined) meta.push(toBase64(keyBytes))
  return inAscii(JSON.stringify(meta))
}

/** Returns the JSON without characters that a database with another encoding than UTF-8 may lack. */
function inAscii(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const constant = { type: '', source: '', contentType: '', json: '"","",""' }

/** Values shared by the messages of a channel, cached from the previous one. */
function constantOf({ type, source, contentType }: EncodedMessage): string {
  if (type !== constant.type || source !== constant.source || contentType !== constant.contentType) {
    const json = JSON.stringify([type, source, contentType]).slice(1, -1)
    Object.assign(constant, { type, source, contentType, json })
  }
  return constant.json
}

/** The columns of a row as a driver returns them. */
export interface LogRow {
  readonly key: Uint8Array | null
  readonly meta: string
  readonly body: Uint8Array | null
}

export interface ReadRow extends LogRow {
  readonly position: number
}

const NO_HEADERS: Headers = Object.freeze({})

/**
 * Returns the message of a row, from this package or from any program that writes to the log: a list in our form, or an object
 * with any of the same names. Never throws; a message without an id gets its position as one.
 */
export function messageOf(destination: string, { key, meta, body }: LogRow, position: string): EncodedMessage {
  const { id, type, source, contentType, time, headers, keyBytes } = fieldsOf(meta)
  return unfoldStructured({
    id: bounded(text(id) || `${destination}-${position}`),
    destination,
    key: key === null ? null : textOf(key),
    ...(typeof keyBytes === 'string' ? { keyBytes: new Uint8Array(Buffer.from(keyBytes, 'base64')) } : {}),
    type: bounded(text(type) || destination),
    source: bounded(text(source) || 'unknown'),
    contentType: text(contentType) ?? 'application/json',
    time: firstInstant(
      typeof time === 'number' ? time : undefined,
      typeof time === 'string' ? instantOf(time) : undefined,
    ),
    headers: isJsonObject(headers) ? headersOf(headers) : NO_HEADERS,
    body,
  })
}

function fieldsOf(meta: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(meta)
    if (isJsonObject(parsed)) return parsed
    if (!Array.isArray(parsed)) return {}
    const [id, type, source, contentType, time, headers, keyBytes] = parsed as readonly unknown[]
    return { id, type, source, contentType, time, headers, keyBytes }
  } catch {
    return {}
  }
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

function headersOf(headers: Readonly<Record<string, unknown>>): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, headerOf(value)]))
}

/** Another program may write anything: a value that is not a header becomes its JSON. */
function headerOf(value: unknown): HeaderValue {
  return headerFromJson(value) ?? (value === null ? null : jsonOf(value))
}

/** Too deeply nested values are dropped. */
function jsonOf(value: unknown): HeaderValue {
  try {
    return JSON.stringify(value) ?? null
  } catch {
    return null
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}
