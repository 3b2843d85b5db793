import { type Codec, jsonCodec } from '../../core/codec.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import {
  hasMethods,
  optionNames,
  refuseUnknown,
  requireBoolean,
  requireFunction,
  wrongKind,
} from '../../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../core/schema.ts'
import { isDeadLetterName } from './dead-letter-name.ts'
import { REDRIVE_END } from './message.ts'
import { resolveVersions, type Upcasts } from './payload-version.ts'

/**
 * A channel: a name, a payload schema, a key and a codec. Frozen data that can be imported and tested without a broker; sender
 * and receiver share the declaration.
 *
 * `Input` is the type that senders pass, `Output` the type that handlers receive: they differ when the schema transforms. The
 * input form is sent. It is validated before sending and again, with the transformation, when received.
 */
export interface Channel<Input = unknown, Output = Input, Name extends string = string> {
  readonly name: Name
  readonly schema: StandardSchemaV1<Input, Output>
  readonly key: ((payload: Input) => string | null) | undefined
  readonly codec: Codec<unknown>
  readonly partitions: number
  readonly groups: readonly string[]
  readonly retentionMs?: number | undefined
  readonly tombstones?: boolean | undefined
  readonly transactional?: boolean | undefined
  readonly reads?: readonly Codec<unknown>[] | undefined
  readonly version?: number | undefined
  readonly upcasts?: Upcasts | undefined
}

/** Options of `defineChannel`. */
export interface ChannelOptions<S extends StandardSchemaV1> {
  /** Any Standard Schema (zod, valibot, arktype, ...). */
  readonly payload: S
  /** Returns the key. Messages with one key are handled in order. @default no key: no order */
  readonly key?: ((payload: StandardSchemaV1.InferInput<S>) => string | null) | undefined
  /** @default jsonCodec */
  readonly codec?: Codec<unknown> | undefined
  /**
   * Number of partitions of the destination when this package creates it: the maximum number of members of one group that work at
   * once. It cannot be changed later, because a key's partition depends on it. @default 4
   */
  readonly partitions?: number | undefined
  /**
   * Durable groups that exist before the first message is accepted, even if none of their members has ever run. Needed on
   * RabbitMQ, where a queue only receives messages sent after it was declared. @default none
   */
  readonly groups?: readonly string[] | undefined
  /**
   * Approximate time for which a broker that keeps messages after they were read (Kafka, PostgreSQL) keeps them, in ms; at least
   * a minute. On Kafka it applies to a topic that this package creates; on PostgreSQL if it is longer than the transport's, as
   * declared by the service that started last. RabbitMQ and memory keep only messages that a group has yet to read. @default the
   * broker's
   */
  readonly retentionMs?: number | undefined
  /**
   * True: a payload may be `null`, which means that the entity with this key was deleted. It is sent without a body and needs an
   * explicit key: `send(channel, null, { key })`. @default false: messages without a body are dead-lettered
   */
  readonly tombstones?: boolean | undefined
  /**
   * True: messages are sent only in transactions of the transport's database (`tx.send`, `outbox.add`), so that none is stored
   * twice. Any other send is refused. Required by a binding with `settlesIn`. @default false
   */
  readonly transactional?: boolean | undefined
  /**
   * Codecs for reading this channel in addition to `codec`, selected by a message's content type. Messages that none of them
   * reads are dead-lettered; messages without a content type are read with `codec`. @default only `codec`, whatever the content
   * type
   */
  readonly reads?: readonly Codec<unknown>[] | undefined
  /** Version of the payload that the schema describes. Sent with each message. @default 1 */
  readonly version?: number | undefined
  /**
   * Converts an older payload, decoded but not validated, to the next version: `{ 1: (old) => two, 2: (old) => three }`. Payloads
   * older than the first entry, or newer than `version`, are dead-lettered.
   */
  readonly upcasts?: Upcasts | undefined
}

const NAMES = optionNames<ChannelOptions<StandardSchemaV1>>({
  payload: true,
  key: true,
  codec: true,
  partitions: true,
  groups: true,
  retentionMs: true,
  tombstones: true,
  transactional: true,
  reads: true,
  version: true,
  upcasts: true,
})

/** Number of partitions of a channel that does not specify one. */
const DEFAULT_PARTITIONS = 4
/** Dead letters of a group keep their order. */
const DEAD_LETTER_PARTITIONS = 1

/** Returns the partitions of a channel whose declaration gives no number. */
export function defaultPartitions(name: string): number {
  return isDeadLetterName(name) ? DEAD_LETTER_PARTITIONS : DEFAULT_PARTITIONS
}

/**
 * Declares a channel.
 * @param name 1 to 200 characters of `A-Z a-z 0-9 . _ -` (legal as a Kafka topic and an AMQP exchange)
 * @throws TypeError / RangeError naming the option
 */
export function defineChannel<S extends StandardSchemaV1, Name extends string = string>(
  name: Name,
  options: ChannelOptions<S> & { readonly tombstones: true },
): Channel<StandardSchemaV1.InferInput<S> | null, StandardSchemaV1.InferOutput<S> | null, Name>
export function defineChannel<S extends StandardSchemaV1, Name extends string = string>(
  name: Name,
  options: ChannelOptions<S>,
): Channel<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>, Name>
export function defineChannel<S extends StandardSchemaV1>(
  name: string,
  options: ChannelOptions<S>,
): Channel<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>> {
  checkChannelName('defineChannel', name)
  const path = `defineChannel("${name}")`
  refuseUnknown(path, options, NAMES)
  if (typeof options.payload?.['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.payload`, options.payload, A_SCHEMA)
  }
  return Object.freeze({
    name,
    schema: options.payload as StandardSchemaV1<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>,
    key: options.key === undefined ? undefined : requireFunction(`${path}.key`, options.key),
    codec: options.codec === undefined ? jsonCodec : requireCodec(`${path}.codec`, options.codec),
    partitions: requireInteger(`${path}.partitions`, options.partitions ?? defaultPartitions(name), 1, 1_000),
    groups: resolveGroups(`${path}.groups`, options.groups),
    ...(options.retentionMs === undefined
      ? {}
      : { retentionMs: requireInteger(`${path}.retentionMs`, options.retentionMs, 60_000) }),
    ...resolveFlag(path, 'tombstones', options.tombstones),
    ...resolveFlag(path, 'transactional', options.transactional),
    ...resolveReads(path, options.reads),
    ...resolveVersions(path, options),
  })
}

function resolveFlag(path: string, name: 'tombstones' | 'transactional', value: unknown): Partial<Channel> {
  return value !== undefined && requireBoolean(`${path}.${name}`, value) ? { [name]: true } : {}
}

function resolveReads(path: string, reads: readonly Codec<unknown>[] | undefined): Pick<Channel, 'reads'> {
  if (reads === undefined) return {}
  if (!Array.isArray(reads)) throw wrongKind(`${path}.reads`, reads, 'a list of codecs')
  for (const [i, codec] of reads.entries()) {
    requireCodec(`${path}.reads[${i}]`, codec)
  }
  return { reads: Object.freeze([...reads]) }
}

function requireCodec(path: string, codec: Codec<unknown>): Codec<unknown> {
  if (typeof codec?.contentType === 'string' && hasMethods(codec, ['encode', 'decode'])) return codec
  throw wrongKind(path, codec, 'a codec: { contentType, encode, decode }')
}

function resolveGroups(path: string, groups: readonly string[] = []): readonly string[] {
  if (!Array.isArray(groups)) throw wrongKind(path, groups, 'a list of names')
  for (const group of groups) checkName(path, group, 100)
  return Object.freeze([...new Set(groups)])
}

/**
 * Returns the channel under another name, to consume a destination that senders name at run time.
 * @throws TypeError when it is not a channel or the name is illegal
 */
export function channelAt<In, Out, Name extends string = string>(
  channel: Channel<In, Out>,
  name: Name,
): Channel<In, Out, Name> {
  checkChannelName('channelAt', name)
  const letters = isDeadLetterName(name) ? { partitions: DEAD_LETTER_PARTITIONS } : {}
  return Object.freeze({ ...requireChannel('channelAt', channel), ...letters, name })
}

/** Checks that a value is a channel, from any copy of the package. @throws TypeError naming the path */
export function requireChannel<In, Out>(path: string, value: Channel<In, Out>): Channel<In, Out> {
  const channel: unknown = value
  if (hasMethods(value?.schema?.['~standard'], ['validate']) && hasMethods(value.codec, ['encode', 'decode']))
    return value
  const expected = 'what defineChannel returned'
  throw typeof channel === 'string' ? invalidOption(path, channel, expected) : wrongKind(path, channel, expected)
}

function checkChannelName(path: string, name: string): void {
  if (checkName(path, name, 200) === REDRIVE_END)
    throw invalidOption(path, name, 'another name: messages of this type mark the end of a redrive')
}

/** Checks a destination or group name. @throws TypeError naming the path */
export function checkName(path: string, name: unknown, maxLength: number): string {
  if (
    typeof name === 'string' &&
    name.length <= maxLength &&
    /^[A-Za-z0-9._-]+$/.test(name) &&
    name !== '.' &&
    name !== '..'
  )
    return name
  throw invalidOption(path, name, `a name of 1 to ${maxLength} characters out of A-Z a-z 0-9 . _ -`)
}
