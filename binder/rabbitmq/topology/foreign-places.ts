/**
 * Channels on exchanges and queues that another program created, under its own names. Our guarantees hold there too, or `start()`
 * reports which cannot: such channels have one partition, an exchange must have the declared type, and a queue must survive the
 * broker and, for the order of a key, have a single active consumer.
 */
import { invalidOption, requireText } from '../../../core/errors.ts'
import { optionNames, refuseUnknown, requireBoolean, wrongKind } from '../../../core/option-checks.ts'
import type { GroupPlace } from '../../transport/transport.ts'
import { queueOf } from './topology-names.ts'

/** Location of a channel that another program created. Set an exchange, the queues of all groups, or both. */
export interface RabbitPlace {
  /** Messages are sent to this exchange, and queues of groups that are not in `queues` are bound to it. */
  readonly exchange?: string | undefined
  /** @default 'topic' */
  readonly type?: 'direct' | 'topic' | 'fanout' | undefined
  /** Routing key of messages to the exchange. @default '' */
  readonly routingKey?: string | undefined
  /** Binding key of our queues on the exchange, e.g. `order.*`. @default `routingKey`; `#` without it */
  readonly bindingKey?: string | undefined
  /** Existing queues, by group. Nothing is declared or bound for them. */
  readonly queues?: Readonly<Record<string, string | RabbitQueuePlace>> | undefined
}

/** A queue created by another program, from which a group receives its messages. */
export interface RabbitQueuePlace {
  readonly queue: string
  /**
   * False: messages of one key may be handled at the same time and out of order, as on any queue with several consumers. Needed
   * for a queue without `x-single-active-consumer`. @default true
   */
  readonly ordered?: boolean | undefined
}

export interface ResolvedPlace {
  readonly channel: string
  /** `''` is the broker's default exchange, which routes to the queue named by the routing key. */
  readonly exchange: string | undefined
  readonly type: 'direct' | 'topic' | 'fanout'
  readonly routingKey: string
  readonly bindingKey: string
  readonly queues: ReadonlyMap<string, QueuePlace>
}

export interface QueuePlace {
  readonly queue: string
  readonly ordered: boolean
}

export type Places = ReadonlyMap<string, ResolvedPlace>

const NAMES = optionNames<RabbitPlace>({ exchange: true, type: true, routingKey: true, bindingKey: true, queues: true })
const QUEUE_NAMES = optionNames<RabbitQueuePlace>({ queue: true, ordered: true })
const TYPES: readonly unknown[] = ['direct', 'topic', 'fanout']
const MAX_BYTES = 255

/** @throws TypeError / RangeError with the name of the option */
export function resolvePlaces(given: unknown): Places {
  if (given === undefined) return new Map()
  const path = 'rabbitTransport.places'
  if (typeof given !== 'object' || given === null) throw wrongKind(path, given, 'an object of places, by channel')
  return new Map(
    Object.entries(given as Readonly<Record<string, RabbitPlace>>).map(([channel, place]) => {
      return [channel, resolvePlace(`${path}["${channel}"]`, channel, place)]
    }),
  )
}

function resolvePlace(path: string, channel: string, place: RabbitPlace): ResolvedPlace {
  refuseUnknown(path, place, NAMES)
  const { exchange, type = 'topic', routingKey, bindingKey, queues = {} } = place
  if (!TYPES.includes(type)) throw invalidOption(`${path}.type`, type, "'direct', 'topic' or 'fanout'")
  if (typeof queues !== 'object' || queues === null) throw wrongKind(`${path}.queues`, queues, 'queues, by group')
  const byGroup = new Map(
    Object.entries(queues).map(([group, queue]) => [group, resolveQueue(`${path}.queues.${group}`, queue)]),
  )
  if (exchange !== undefined) {
    const own = routingKey === undefined ? '' : requireShort(`${path}.routingKey`, routingKey)
    const wanted = bindingKey ?? (routingKey === undefined && type === 'topic' ? '#' : own)
    return Object.freeze({
      channel,
      exchange: requireShort(`${path}.exchange`, requireText(`${path}.exchange`, exchange)),
      type,
      routingKey: own,
      bindingKey: requireShort(`${path}.bindingKey`, wanted),
      queues: byGroup,
    })
  }
  const [first, ...more] = byGroup.values()
  if (first === undefined) throw invalidOption(path, place, 'an exchange, or queues')
  if (routingKey !== undefined || bindingKey !== undefined)
    throw invalidOption(path, place, 'an exchange, if there is a routing key')
  const sole = more.length === 0
  const key = sole ? first.queue : ''
  return Object.freeze({
    channel,
    exchange: sole ? '' : undefined,
    type: 'direct',
    routingKey: key,
    bindingKey: key,
    queues: byGroup,
  })
}

function resolveQueue(path: string, given: unknown): QueuePlace {
  if (typeof given === 'string') return { queue: requireShort(path, requireText(path, given)), ordered: true }
  if (typeof given !== 'object' || given === null)
    throw wrongKind(path, given, 'the name of a queue, or { queue, ordered }')
  refuseUnknown(path, given, QUEUE_NAMES)
  const { queue, ordered = true } = given as RabbitQueuePlace
  requireBoolean(`${path}.ordered`, ordered)
  return { queue: requireShort(`${path}.queue`, requireText(`${path}.queue`, queue)), ordered }
}

function requireShort(path: string, text: string): string {
  if (typeof text === 'string' && Buffer.byteLength(text) <= MAX_BYTES) return text
  throw invalidOption(path, text, `a text of at most ${MAX_BYTES} bytes, RabbitMQ's limit`)
}

/** Exchange of a channel's messages. */
export function exchangeOf(channel: string, places: Places): string {
  return places.get(channel)?.exchange ?? channel
}

/** True if the exchange was created by another program. */
export function hasForeignExchange(place: ResolvedPlace): boolean {
  return place.exchange !== undefined && place.exchange !== ''
}

/** Queue of a group's partition: the existing one in the options, or ours. */
export function queueIn(places: Places, { destination, partitions, group }: GroupPlace, partition: number): string {
  return places.get(destination)?.queues.get(group)?.queue ?? queueOf(destination, group, partition, partitions)
}
