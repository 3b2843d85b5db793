import { CodecError } from '../core/codec.ts'
import { show } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import { optionNames, refuseUnknown } from '../core/options.ts'
import { validate } from '../core/schema.ts'
import { type Channel, requireChannel } from './channel.ts'
import { checkHeaders, type EncodedMessage, type Headers } from './message.ts'

/** What a sender may say beside the payload. */
export interface SendOptions {
  /** 1 to 255 characters; give the same one when you send the same message again. @default a new UUIDv7 */
  readonly id?: string | undefined
  /** Overrides the channel's key. */
  readonly key?: string | null | undefined
  readonly headers?: Headers | undefined
  /** When it happened, epoch ms. @default now */
  readonly time?: number | undefined
}

const NAMES = optionNames<SendOptions>({ id: true, key: true, headers: true, time: true })

const NO_OPTIONS: SendOptions = Object.freeze({})
const NO_HEADERS: Headers = Object.freeze({})

/**
 * Validates a payload against its channel and encodes it. Synchronous when the schema is.
 * @param service CloudEvents `source`
 * @throws SchemaError, CodecError, TypeError (channel, options): nothing was sent
 */
export function encodeMessage<In, Out>(
  channel: Channel<In, Out>,
  payload: In,
  service: string,
  options?: SendOptions,
): EncodedMessage | Promise<EncodedMessage> {
  // Once per message: the whole check only when the first look says no.
  if (channel?.schema === undefined) requireChannel('send', channel)
  if (options !== undefined) refuseUnknown(`send("${channel.name}")`, options, NAMES)
  const valid = validate(`payload of "${channel.name}"`, channel.schema, payload)
  return valid instanceof Promise
    ? valid.then(() => encode(channel, payload, service, options))
    : encode(channel, payload, service, options)
}

function encode<In, Out>(
  channel: Channel<In, Out>,
  payload: In,
  service: string,
  options: SendOptions = NO_OPTIONS,
): EncodedMessage {
  if (options.headers !== undefined) checkHeaders(options.headers)
  const key = options.key !== undefined ? options.key : (channel.key?.(payload) ?? null)
  if (key !== null && (typeof key !== 'string' || key.length > 1_024)) {
    throw new TypeError(
      `key of "${channel.name}": expected a string of at most 1024 characters or null, got ${show(key)}`,
    )
  }
  return {
    id: options.id === undefined ? newId() : checkId(channel.name, options.id),
    destination: channel.name,
    key,
    type: channel.name,
    source: service,
    contentType: channel.codec.contentType,
    time: options.time ?? Date.now(),
    headers: options.headers ?? NO_HEADERS,
    body: channel.codec.encode(payload),
  }
}

/** An index of an inbox has to hold it. */
const MAX_ID_LENGTH = 255

function checkId(channel: string, id: unknown): string {
  if (typeof id === 'string' && id.length > 0 && id.length <= MAX_ID_LENGTH) return id
  throw new TypeError(`id of "${channel}": expected a string of 1 to ${MAX_ID_LENGTH} characters, got ${show(id)}`)
}

/**
 * Decodes and validates what arrived. Synchronous when the schema is.
 * @throws CodecError, SchemaError: the message can never be handled
 */
export function decodePayload<In, Out>(channel: Channel<In, Out>, message: EncodedMessage): Out | Promise<Out> {
  if (message.body === null)
    throw new CodecError(message.contentType, `message ${message.id} on "${channel.name}" is a tombstone (no payload)`)
  return validate(`payload of "${channel.name}"`, channel.schema, channel.codec.decode(message.body))
}
