/**
 * Channels that lie on exchanges and queues which another program made, under names of its own. What is ours to keep is
 * kept there too, or `start()` says what cannot be: they have one partition, an exchange has to be of the type that is
 * meant, and a queue has to survive the broker and, for the order of a key, to have a single active consumer.
 */
import { ConcordatError, invalidOption, requireText, toError } from '../../../core/errors.ts'
import { optionNames, refuseUnknown, wrongKind } from '../../../core/options.ts'
import type { DestinationSpec } from '../../transport/transport.ts'
import { failure, replyCodeOf } from '../failure.ts'
import type { AmqpChannel } from '../link/client.ts'
import type { Ask } from './declaration.ts'

/** Where a channel lies that another program made. Give an exchange, or the queues of all groups, or both. */
export interface RabbitPlace {
  /** What is sent goes to this exchange, and queues of groups that are not in `queues` are bound to it. */
  readonly exchange?: string | undefined
  /** @default 'topic' */
  readonly type?: 'direct' | 'topic' | 'fanout' | undefined
  /** Of what is sent to the exchange. @default '' */
  readonly routingKey?: string | undefined
  /** With which our queues are bound to the exchange, e.g. `order.*`. @default `routingKey`; `#` where that is not given */
  readonly bindingKey?: string | undefined
  /** Queues that exist, by group. Nothing is declared or bound for them. */
  readonly queues?: Readonly<Record<string, string | RabbitQueuePlace>> | undefined
}

/** A queue that another program made, from which a group takes its messages. */
export interface RabbitQueuePlace {
  readonly queue: string
  /**
   * False: messages of one key may be handled at the same time and out of order, as on any queue that several members
   * take from. Needed for one without `x-single-active-consumer`. @default true
   */
  readonly ordered?: boolean | undefined
}

export interface ResolvedPlace {
  readonly channel: string
  /** `''` is the broker's default exchange, which leads to the queue that the routing key names. */
  readonly exchange: string | undefined
  readonly type: 'direct' | 'topic' | 'fanout'
  readonly routingKey: string
  readonly bindingKey: string
  readonly queues: ReadonlyMap<string, QueuePlace>
}

interface QueuePlace {
  readonly queue: string
  readonly ordered: boolean
}

export type Places = ReadonlyMap<string, ResolvedPlace>

const NAMES = optionNames<RabbitPlace>({ exchange: true, type: true, routingKey: true, bindingKey: true, queues: true })
const QUEUE_NAMES = optionNames<RabbitQueuePlace>({ queue: true, ordered: true })
const TYPES: readonly unknown[] = ['direct', 'topic', 'fanout']
const MAX_BYTES = 255

/** @throws TypeError / RangeError naming the option */
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
  if (typeof ordered !== 'boolean') throw invalidOption(`${path}.ordered`, ordered, 'true or false')
  return { queue: requireShort(`${path}.queue`, requireText(`${path}.queue`, queue)), ordered }
}

function requireShort(path: string, text: string): string {
  if (typeof text === 'string' && Buffer.byteLength(text) <= MAX_BYTES) return text
  throw invalidOption(path, text, `a text of at most ${MAX_BYTES} bytes, RabbitMQ's limit`)
}

/** What a channel's messages are published to. */
export function exchangeOf(channel: string, places: Places): string {
  return places.get(channel)?.exchange ?? channel
}

/** The place has an exchange that somebody else made. */
export function hasForeignExchange(place: ResolvedPlace): boolean {
  return place.exchange !== undefined && place.exchange !== ''
}

/**
 * Looks at what a destination needs of a place. Makes nothing.
 * @throws TransportError `mismatch` naming all that cannot be
 */
export async function checkPlace(spec: DestinationSpec, place: ResolvedPlace, ask: Ask): Promise<void> {
  const faults: string[] = []
  if (spec.partitions !== 1)
    faults.push(
      `the channel has ${spec.partitions} partitions, and there is one: defineChannel(..., { partitions: 1 })`,
    )
  if (hasForeignExchange(place)) faults.push(...(await exchangeFaults(place, ask)))
  for (const group of spec.groups) {
    const queue = place.queues.get(group)
    if (queue !== undefined) faults.push(...(await queueFaults(queue, ask)))
    else if (!hasForeignExchange(place))
      faults.push(`group "${group}" has no queue: name it in places["${place.channel}"].queues, or name an exchange`)
  }
  if (faults.length === 0) return
  throw failure('mismatch', `"${spec.name}" cannot lie where rabbitTransport.places says: ${faults.join('; ')}.`, {
    destination: spec.name,
  })
}

async function exchangeFaults({ exchange = '', type }: ResolvedPlace, ask: Ask): Promise<readonly string[]> {
  try {
    await ask(`look for exchange "${exchange}"`, (channel) => channel.checkExchange(exchange))
  } catch (error) {
    if (codeOf(error) === NOT_FOUND) return [`there is no exchange "${exchange}": make it, or correct its name`]
    if (codeOf(error) !== ACCESS_REFUSED) throw error
  }
  const differs = await differenceOf(ask, `compare exchange "${exchange}"`, (channel) =>
    channel.assertExchange(exchange, type, { durable: true }),
  )
  return differs?.name === 'type' ? [`exchange "${exchange}" is ${differs.current}, and the place says '${type}'`] : []
}

async function queueFaults({ queue, ordered }: QueuePlace, ask: Ask): Promise<readonly string[]> {
  try {
    await ask(`look for queue "${queue}"`, (channel) => channel.checkQueue(queue))
  } catch (error) {
    switch (codeOf(error)) {
      case NOT_FOUND:
        return [`there is no queue "${queue}": make it, or correct its name`]
      case LOCKED:
        return [`queue "${queue}" belongs to one connection alone (exclusive)`]
      default:
        throw error
    }
  }
  const about = await argumentsOf(queue, ask)
  if (about === undefined) return []
  const faults: string[] = []
  if (!about.durable) faults.push(`queue "${queue}" is not durable: it would lose its messages with the broker`)
  if (ordered && about.arguments['x-single-active-consumer'] !== true) {
    faults.push(
      `queue "${queue}" has no x-single-active-consumer, so several processes take from it at once and the order of a ` +
        'key is lost: make it with that argument, or say { queue, ordered: false }',
    )
  }
  return faults
}

interface QueueArguments {
  readonly durable: boolean
  readonly arguments: Readonly<Record<string, string | number | boolean>>
}

/** More than RabbitMQ compares. */
const MAX_ROUNDS = 25

/**
 * AMQP does not tell what a queue was declared with, but names the first thing in which a declaration differs, with its
 * value: asked until nothing differs. `undefined` when we may not ask.
 */
async function argumentsOf(queue: string, ask: Ask): Promise<QueueArguments | undefined> {
  const flags: Record<string, boolean> = { durable: true, auto_delete: false, exclusive: false }
  const found: Record<string, string | number | boolean> = { 'x-single-active-consumer': true }
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { durable, auto_delete: autoDelete, exclusive } = flags
    const differs = await differenceOf(ask, `compare queue "${queue}"`, (channel) =>
      channel.assertQueue(queue, { durable, autoDelete, exclusive, arguments: { ...found } } as never),
    )
    if (differs === undefined) return { durable: flags['durable'] === true, arguments: found }
    if (differs.name === '') return undefined
    if (Object.hasOwn(flags, differs.name)) flags[differs.name] = differs.current === 'true'
    else if (differs.value === undefined) delete found[differs.name]
    else found[differs.name] = differs.value
  }
  return undefined
}

interface Difference {
  /** `''`: the broker does not say. */
  readonly name: string
  readonly current: string
  readonly value: string | number | boolean | undefined
}

/** What a declaration of something that exists differs in. @throws when the broker does not answer */
async function differenceOf(
  ask: Ask,
  what: string,
  question: (channel: AmqpChannel) => Promise<unknown>,
): Promise<Difference | undefined> {
  try {
    await ask(what, question)
    return undefined
  } catch (error) {
    const code = codeOf(error)
    if (code === ACCESS_REFUSED || code === LOCKED) return { name: '', current: '', value: undefined }
    if (code !== PRECONDITION_FAILED) throw error
    return readDifference(toError(toError(error).cause ?? error).message)
  }
}

/** `inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'` */
export function readDifference(text: string): Difference {
  const match =
    /inequivalent arg '([^']+)'.* but current is (?:the value )?(?:'([^']*)'(?: of type '(\w+)')?|none)/.exec(text)
  if (match === null) return { name: '', current: '', value: undefined }
  const [, name = '', current, type] = match
  if (current === undefined) return { name, current: 'none', value: undefined }
  const value =
    current === 'true' || current === 'false'
      ? current === 'true'
      : /int|long$|short|byte|float|double/.test(type ?? '')
        ? Number(current)
        : current
  return { name, current, value }
}

const ACCESS_REFUSED = 403
const NOT_FOUND = 404
const LOCKED = 405
const PRECONDITION_FAILED = 406

function codeOf(error: unknown): number | undefined {
  return replyCodeOf(error instanceof ConcordatError ? (error.cause ?? error) : error)
}
