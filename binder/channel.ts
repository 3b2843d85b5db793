import { type Codec, jsonCodec } from '../core/codec.ts'
import { invalidOption, requireInteger } from '../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../core/options.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'

/**
 * A channel: a name, a payload schema, a key and a codec. Frozen data, importable and testable with no broker; both
 * sides of a conversation share the declaration.
 *
 * `Input` is what a sender gives, `Output` what a handler gets: they differ when the schema transforms. The input form
 * travels; it is validated when sent and again, with the transformation, when received.
 */
export interface Channel<Input = unknown, Output = Input> {
  readonly name: string
  readonly schema: StandardSchemaV1<Input, Output>
  readonly key: ((payload: Input) => string | null) | undefined
  readonly codec: Codec<unknown>
  readonly partitions: number
  readonly groups: readonly string[]
  readonly retentionMs?: number | undefined
}

export interface ChannelOptions<S extends StandardSchemaV1> {
  /** Any Standard Schema (zod, valibot, arktype, ...). */
  readonly payload: S
  /** Messages of one key are handled in order. @default no key: no order */
  readonly key?: ((payload: StandardSchemaV1.InferInput<S>) => string | null) | undefined
  /** @default jsonCodec */
  readonly codec?: Codec<unknown> | undefined
  /**
   * How many partitions the destination has when this package creates it: the most members of one group that work at a
   * time. Fixed once created: a key's partition depends on it. @default 4
   */
  readonly partitions?: number | undefined
  /**
   * Durable groups that exist before the first message is accepted, whether or not one of their members has ever run.
   * Needed on RabbitMQ, where a queue only gets what is sent after it was declared. @default none
   */
  readonly groups?: readonly string[] | undefined
  /**
   * How long a broker that keeps what was read (Kafka) keeps the messages, about, in ms; at least a minute. For a topic
   * that this package creates. RabbitMQ and memory keep what a group has still to read, and nothing else. @default the broker's
   */
  readonly retentionMs?: number | undefined
}

const NAMES = optionNames<ChannelOptions<StandardSchemaV1>>({
  payload: true,
  key: true,
  codec: true,
  partitions: true,
  groups: true,
  retentionMs: true,
})

export const DEFAULT_PARTITIONS = 4

/**
 * Declares a channel.
 * @param name 1 to 200 characters of `A-Z a-z 0-9 . _ -` (legal as a Kafka topic and an AMQP exchange)
 * @throws TypeError / RangeError naming the option
 */
export function defineChannel<S extends StandardSchemaV1>(
  name: string,
  options: ChannelOptions<S>,
): Channel<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>> {
  checkName('defineChannel', name, 200)
  const path = `defineChannel("${name}")`
  refuseUnknown(path, options, NAMES)
  if (typeof options.payload?.['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.payload`, options.payload, 'a Standard Schema such as z.object({...})')
  }
  for (const group of options.groups ?? []) checkName(`${path}.groups`, group, 100)
  return Object.freeze({
    name,
    schema: options.payload as StandardSchemaV1<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>,
    key: options.key,
    codec: options.codec ?? jsonCodec,
    partitions: requireInteger(`${path}.partitions`, options.partitions ?? DEFAULT_PARTITIONS, 1, 1_000),
    groups: Object.freeze([...(options.groups ?? [])]),
    ...(options.retentionMs === undefined
      ? {}
      : { retentionMs: requireInteger(`${path}.retentionMs`, options.retentionMs, 60_000) }),
  })
}

/** Checks that it is a channel, whichever copy of the package made it. @throws TypeError naming the path */
export function requireChannel<In, Out>(path: string, value: Channel<In, Out>): Channel<In, Out> {
  const channel: unknown = value
  if (hasMethods(value?.schema?.['~standard'], ['validate']) && hasMethods(value.codec, ['encode', 'decode']))
    return value
  const expected = 'what defineChannel returned'
  throw typeof channel === 'string' ? invalidOption(path, channel, expected) : wrongKind(path, channel, expected)
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
