/**
 * Compares places with the rules of channels, as far as RabbitMQ reveals how another program created them: see
 * `foreign-places.ts`.
 */
import { ConcordatError, toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { TransportError } from '../../errors.ts'
import type { DestinationSpec } from '../../transport/transport.ts'
import type { AmqpChannel } from '../link/amqplib-types.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { replyCodeOf, TRANSPORT } from '../transport-errors.ts'
import type { Ask } from './declare.ts'
import { hasForeignExchange, type QueuePlace, type ResolvedPlace } from './foreign-places.ts'
import { lossIn } from './lossy-queue-arguments.ts'

/** Checks whether places meet the needs of destinations. Creates nothing. */
export class ForeignPlaceCheck {
  readonly #options: Pick<ResolvedRabbitOptions, 'places' | 'mayDiscard'>
  readonly #logger: Logger
  /** Queues that were logged as unknown. */
  readonly #told: Set<string> = new Set()

  constructor(options: Pick<ResolvedRabbitOptions, 'places' | 'mayDiscard'>, logger: Logger) {
    this.#options = options
    this.#logger = logger
  }

  /** @throws TransportError `mismatch` with everything that is impossible */
  async check(destinations: readonly DestinationSpec[], ask: Ask): Promise<void> {
    for (const spec of destinations) {
      const place = this.#options.places.get(spec.name)
      if (place !== undefined) await this.#checkPlace(spec, place, ask)
    }
  }

  async #checkPlace(spec: DestinationSpec, place: ResolvedPlace, ask: Ask): Promise<void> {
    const faults: string[] = []
    if (spec.partitions !== 1)
      faults.push(
        `the channel has ${spec.partitions} partitions, and there is one: defineChannel(..., { partitions: 1 })`,
      )
    if (hasForeignExchange(place)) faults.push(...(await exchangeFaults(place, ask)))
    for (const group of spec.groups) {
      const queue = place.queues.get(group)
      if (queue !== undefined) faults.push(...(await this.#queueFaults(queue, ask)))
      else if (!hasForeignExchange(place))
        faults.push(`group "${group}" has no queue: name it in places["${place.channel}"].queues, or name an exchange`)
    }
    if (faults.length === 0) return
    throw new TransportError({
      transport: TRANSPORT,
      kind: 'mismatch',
      destination: spec.name,
      ...(spec.partitions === 1 ? {} : { partitions: 1 }),
      message: `"${spec.name}" cannot lie where rabbitTransport.places says: ${faults.join('; ')}.`,
    })
  }

  async #queueFaults({ queue, ordered }: QueuePlace, ask: Ask): Promise<readonly string[]> {
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
    if (typeof about === 'string') {
      this.#tellUnknown(queue, about)
      return []
    }
    const faults: string[] = []
    if (about.arguments['x-queue-type'] === 'stream')
      faults.push(`"${queue}" is a stream, which keeps no position of a group: make it a quorum or classic queue`)
    if (!about.durable) faults.push(`queue "${queue}" is not durable: it would lose its messages with the broker`)
    if (ordered && about.arguments['x-single-active-consumer'] !== true) {
      faults.push(
        `queue "${queue}" has no x-single-active-consumer, so several processes take from it at once and the order of a ` +
          'key is lost: make it with that argument, or say { queue, ordered: false }',
      )
    }
    const loss = this.#options.mayDiscard ? undefined : lossIn(about.arguments)
    if (loss !== undefined) {
      faults.push(
        `queue "${queue}" has ${loss.name}, with which RabbitMQ discards messages that it has confirmed: make it without, or allow the ` +
          'loss with rabbitTransport({ mayDiscard: true })',
      )
    }
    return faults
  }

  #tellUnknown(queue: string, reason: string): void {
    if (this.#told.has(queue)) return
    this.#told.add(queue)
    this.#logger.warn(
      { queue },
      `whether the queue "${queue}" keeps messages and their order cannot be known: ${reason}. See that it is durable, no stream, and has ` +
        'no length limit without reject-publish, no TTL and no x-expires',
    )
  }
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
  return differs !== undefined && 'name' in differs && differs.name === 'type'
    ? [`exchange "${exchange}" is ${differs.current}, and the place says '${type}'`]
    : []
}

interface QueueArguments {
  readonly durable: boolean
  readonly arguments: Readonly<Record<string, string | number | boolean>>
}

/** More than RabbitMQ compares. */
const MAX_ROUNDS = 25

/**
 * AMQP does not reveal the arguments of a queue, but reports the first difference of a declaration, with its value: repeated
 * until nothing differs.
 * @returns the reason if they cannot be determined
 */
async function argumentsOf(queue: string, ask: Ask): Promise<QueueArguments | string> {
  const flags: Record<string, boolean> = { durable: true, auto_delete: false, exclusive: false }
  const found: Record<string, string | number | boolean> = { 'x-single-active-consumer': true }
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { durable, auto_delete: autoDelete, exclusive } = flags
    const differs = await differenceOf(ask, `compare queue "${queue}"`, (channel) =>
      channel.assertQueue(queue, { durable, autoDelete, exclusive, arguments: { ...found } } as never),
    )
    if (differs === undefined) return { durable: flags['durable'] === true, arguments: found }
    if ('unknown' in differs) return differs.unknown
    if (Object.hasOwn(flags, differs.name)) flags[differs.name] = differs.current === 'true'
    else if (differs.value === undefined) delete found[differs.name]
    else found[differs.name] = differs.value
  }
  return 'it has more arguments than RabbitMQ is asked for'
}

/** Why the broker does not report the differences. */
interface Unknown {
  readonly unknown: string
}

interface Difference {
  readonly name: string
  readonly current: string
  readonly value: string | number | boolean | undefined
}

/** Returns the first difference between a declaration and the existing queue or exchange. @throws if the broker does not reply */
async function differenceOf(
  ask: Ask,
  what: string,
  question: (channel: AmqpChannel) => Promise<unknown>,
): Promise<Difference | Unknown | undefined> {
  try {
    await ask(what, question)
    return undefined
  } catch (error) {
    const code = codeOf(error)
    if (code === ACCESS_REFUSED || code === LOCKED)
      return { unknown: 'this user may not configure it, and AMQP tells the arguments of a queue to no other' }
    if (code !== PRECONDITION_FAILED) throw error
    return readDifference(toError(toError(error).cause ?? error).message)
  }
}

/**
 * `inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'`
 */
export function readDifference(text: string): Difference | Unknown {
  const match = /inequivalent arg '([^']+)'.* but current is (?:the value '(.*)' of type '(\w+)'|'([^']*)'|none)/.exec(
    text,
  )
  if (match === null) return { unknown: 'its answer about the arguments is cut after 255 bytes' }
  const [, name = '', typed, type, flag] = match
  const current = typed ?? flag
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
