import { type Clock, systemClock } from '../../core/clock.ts'
import { bytesCodec, type Codec, CodecError, copyOf, jsonCodec, textCodec } from '../../core/codec.ts'
import { invalidOption, show, toError } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { optionNames, refuseUnknown, wrongKind } from '../../core/option-checks.ts'
import { validate } from '../../core/schema.ts'
import { notAwaited, synchronous } from '../../core/unawaited-callbacks.ts'
import { isStructured, NOT_AN_EVENT } from '../transport/foreign-cloud-events.ts'
import { type Channel, checkName, requireChannel } from './channel.ts'
import { codecFor } from './content-type.ts'
import { notBeforeOf } from './delay.ts'
import { checkHeaders, type EncodedMessage, type Headers } from './message.ts'
import { upcastPayload, VERSION_HEADER, withVersion } from './payload-version.ts'

/** Options of a send in addition to the payload. */
export interface SendOptions {
  /**
   * Id, 1 to 255 characters; use the same one to send the same message again. An inbox recognises it. A binding that settles in
   * its transaction does not, so a repeated transaction there has to find out itself whether its first run committed.
   * @default a new UUIDv7
   */
  readonly id?: string | undefined
  /** Key that overrides the channel's. */
  readonly key?: string | null | undefined
  /** Headers of this message; they override those of the binder's option `headers`. @default none */
  readonly headers?: Headers | undefined
  /** Time of the event, epoch ms. @default now */
  readonly time?: number | undefined
  /**
   * Destination instead of the channel's name, with the channel's schema, partitions and groups. The sender creates it like a
   * channel; consume it with `channelAt`. @default the channel's name
   */
  readonly destination?: string | undefined
  /**
   * Delay in ms before groups receive the message; at most 30 days. The broker stores it like any other message. Delayed messages
   * have no order, even with a key. @default 0
   */
  readonly delayMs?: number | undefined
}

/** Returns the options for each message of a batch. */
export type BatchOptions<Payload> = (payload: Payload, index: number) => SendOptions | undefined

const NAMES = optionNames<SendOptions>({
  id: true,
  key: true,
  headers: true,
  time: true,
  destination: true,
  delayMs: true,
})

const NO_OPTIONS: SendOptions = Object.freeze({})
const NO_HEADERS: Headers = Object.freeze({})

/**
 * Validates a payload against its channel and encodes it. Synchronous if the schema is.
 * @param service CloudEvents `source`
 * @param clock time of creation, and start of the delay
 * @throws SchemaError, CodecError, TypeError (channel, options): nothing was sent
 */
export function encodeMessage<In, Out>(
  channel: Channel<In, Out>,
  payload: In,
  service: string,
  options?: SendOptions,
  clock: Pick<Clock, 'now'> = systemClock,
): EncodedMessage | Promise<EncodedMessage> {
  // Fast check for each message; the full check only if it fails.
  if (channel?.schema === undefined) requireChannel('send', channel)
  if (options !== undefined) refuseUnknown(`send("${channel.name}")`, options, NAMES)
  if (payload === null && channel.tombstones === true) return encode(channel, payload, service, options, clock)
  const valid = validate(`payload of "${channel.name}"`, channel.schema, payload)
  return valid instanceof Promise
    ? valid.then(() => encode(channel, payload, service, options, clock))
    : encode(channel, payload, service, options, clock)
}

function encode<In, Out>(
  channel: Channel<In, Out>,
  payload: In,
  service: string,
  options: SendOptions = NO_OPTIONS,
  clock: Pick<Clock, 'now'> = systemClock,
): EncodedMessage {
  if (options.headers !== undefined) checkHeaders(options.headers)
  const isTombstone = payload === null && channel.tombstones === true
  const now = clock.now()
  return {
    id: options.id === undefined ? newId() : checkId(channel.name, options.id),
    destination: options.destination === undefined ? channel.name : checkDestination(channel.name, options.destination),
    key: isTombstone ? tombstoneKey(channel.name, options.key) : keyOf(channel, payload, options.key),
    type: channel.name,
    source: service,
    contentType: channel.codec.contentType,
    time: options.time === undefined ? now : checkTime(channel.name, options.time),
    headers: headersOf(channel, isTombstone, options.headers ?? NO_HEADERS),
    body: isTombstone ? null : bytesOf(channel.name, channel.codec, payload),
    notBefore: notBeforeOf(channel.name, options.delayMs, now),
  }
}

/**
 * On a bytes channel without a declared version the sender may forward the body of another message, whose version header is kept,
 * because the channel has no version of its own to write.
 */
function headersOf(
  { version, codec }: Pick<Channel, 'version' | 'codec'>,
  isTombstone: boolean,
  headers: Headers,
): Headers {
  if (version === undefined && codec.contentType === bytesCodec.contentType) return headers
  return withVersion(isTombstone ? undefined : version, headers)
}

function keyOf<In, Out>(channel: Channel<In, Out>, payload: In, given: string | null | undefined): string | null {
  const key = given !== undefined ? given : channel.key === undefined ? null : notAwaited(channel.key(payload))
  // Half a surrogate pair has no UTF-8, so the key would change on the wire.
  if (key === null || (typeof key === 'string' && key.length <= 1_024 && key.isWellFormed())) return key
  throw new TypeError(
    `key of "${channel.name}": expected a string of at most 1024 characters or null, in UTF-8, got ${show(key)}`,
  )
}

/** A tombstone has no payload to derive its key from. */
function tombstoneKey(channel: string, key: unknown): string {
  if (typeof key === 'string' && key.length > 0 && key.length <= 1_024 && key.isWellFormed()) return key
  throw new TypeError(
    `key of a tombstone on "${channel}": expected a string of 1 to 1024 characters, got ${show(key)}; give it: send(channel, null, { key })`,
  )
}

function checkDestination(channel: string, destination: string): string {
  return checkName(`destination of "${channel}"`, destination, 200)
}

/** Years of RFC 3339, the form on the wire, have four digits. */
const FIRST_TIME = Date.parse('0000-01-01T00:00:00.000Z')
const LAST_TIME = Date.parse('9999-12-31T23:59:59.999Z')

function checkTime(channel: string, time: unknown): number {
  if (typeof time === 'number' && time >= FIRST_TIME && time <= LAST_TIME) return Math.trunc(time)
  throw invalidOption(
    `send("${channel}").time`,
    time,
    'an instant in epoch ms of the years 0 to 9999, such as date.getTime()',
  )
}

/** Checked here, in the call of the sender, and not later by a broker's driver. */
function bytesOf(channel: string, codec: Codec<unknown>, payload: unknown): Uint8Array {
  let body: unknown
  try {
    body = notAwaited(codec.encode(payload))
  } catch (error) {
    if (error instanceof CodecError) throw error
    throw new CodecError(codec.contentType, `payload of "${channel}" was not encoded: ${toError(error).message}`, {
      cause: error,
    })
  }
  if (body instanceof Uint8Array) return body
  const { message } = wrongKind(`payload of "${channel}", encoded`, body, 'bytes (a Uint8Array) from the codec')
  throw new CodecError(codec.contentType, message)
}

/** Limit of an inbox's index. */
const MAX_ID_LENGTH = 255

function checkId(channel: string, id: unknown): string {
  const isId = typeof id === 'string' && id.length > 0 && id.length <= MAX_ID_LENGTH
  // Half a surrogate pair has no UTF-8, so two such ids would be equal on the wire. No database row can contain a NUL.
  if (isId && id.isWellFormed() && !id.includes('\0')) return id
  throw new TypeError(
    `id of "${channel}": expected a string of 1 to ${MAX_ID_LENGTH} characters without NUL that has a form in UTF-8, got ${show(id)}`,
  )
}

/**
 * Decodes and validates a received message. Synchronous if the schema is.
 * @throws CodecError, SchemaError, `binder.payload_version`: the message can never be handled
 */
export function decodePayload<In, Out>(channel: Channel<In, Out>, message: EncodedMessage): Out | Promise<Out> {
  if (message.unreadable !== undefined)
    throw new CodecError(message.contentType, `message ${message.id} on "${channel.name}" ${message.unreadable}`)
  if (message.body === null) return readTombstone(channel, message)
  // A transport has unwrapped events. A channel of bytes may contain them unchanged.
  if (isStructured(message.contentType) && channel.codec.contentType !== bytesCodec.contentType)
    throw new CodecError(message.contentType, `message ${message.id} on "${channel.name}" ${NOT_AN_EVENT}`)
  const { codec } = channel
  const reader = channel.reads === undefined && codec.accepts === undefined ? codec : codecFor(channel, message)
  // A handler may modify its payload, while the dead letter and the next attempt need the original.
  const sharesNoBytes = reader === jsonCodec || reader === textCodec
  const body = sharesNoBytes ? message.body : copyOf(message.body)
  const decoded = synchronous(`decode of "${channel.name}"`, reader.decode(body), 'a payload')
  const isPlain = channel.version === undefined && message.headers[VERSION_HEADER] === undefined
  const payload = isPlain ? decoded : upcastPayload(channel, message, decoded)
  return validate(`payload of "${channel.name}"`, channel.schema, payload)
}

function readTombstone<In, Out>(channel: Channel<In, Out>, { contentType, id, key }: EncodedMessage): Out {
  const where = `message ${id} on "${channel.name}" is a tombstone (no payload)`
  if (channel.tombstones !== true)
    throw new CodecError(contentType, `${where}; a channel declared with tombstones: true hands them to its handlers`)
  if (key === null) throw new CodecError(contentType, `${where} without a key: of nothing it says that it is gone`)
  // The declaration allows `null` payloads.
  return null as Out
}
