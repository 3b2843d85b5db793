import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import { type EncodedMessage, REPLY_TO_REQUEST } from '../../channel/message.ts'
import { partitionOf } from '../../channel/partition.ts'
import type { TransportError } from '../../errors.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import type { DelayLadder } from '../topology/delay-ladder.ts'
import { exchangeOf } from '../topology/foreign-places.ts'
import { routingKeyOf } from '../topology/topology-names.ts'
import { type PublishArguments, publishArguments } from './publish-arguments.ts'
import { notProvisioned, onQueues, unwritable } from './publish-errors.ts'

export interface KnownDestinations {
  /** Delays messages of this service. */
  readonly ladder: DelayLadder
  /** Number of partitions of a provisioned destination. */
  partitionsOf(destination: string): number | undefined
  /** True for dead letters: RabbitMQ has accepted the message before, so it accepts it again. */
  takesAnySize(destination: string): boolean
  /** True for a destination with durable groups, such as that of dead letters. */
  hasGroups(destination: string): boolean
}

/** Chooses the routing key of a message and encodes the message for the wire. */
export class PublishEncoder {
  readonly #options: ResolvedRabbitOptions
  readonly #known: KnownDestinations
  readonly #clock: Clock
  readonly #frameMax: () => number
  #roundRobin = 0

  /** @param frameMax of the connection, in bytes */
  constructor(options: ResolvedRabbitOptions, known: KnownDestinations, clock: Clock, frameMax: () => number) {
    this.#options = options
    this.#known = known
    this.#clock = clock
    this.#frameMax = frameMax
  }

  /** @returns an error for a message without a partition */
  routingKeyOf(message: EncodedMessage): string | TransportError {
    const { destination, key } = message
    const partitions = this.#known.partitionsOf(destination)
    if (partitions === undefined) return notProvisioned(message)
    const place = this.#options.places.get(destination)
    if (place !== undefined && place.exchange === undefined) return onQueues(message)
    const partition = key === null ? this.#roundRobin++ % partitions : partitionOf(key, partitions)
    return place?.routingKey ?? routingKeyOf(partition)
  }

  /** @throws the errors of `publishArguments` */
  encode(message: EncodedMessage): PublishArguments {
    const { maxMessageBytes } = this.#options
    const policy = this.#isForRequester(message) ? 'accept' : this.#options.unroutable
    const maxBytes = this.#known.takesAnySize(message.destination) ? Number.POSITIVE_INFINITY : maxMessageBytes
    const limits = { maxBytes, frameMax: this.#frameMax() }
    const to = exchangeOf(message.destination, this.#options.places)
    return publishArguments(message, to, policy, limits, this.#known.ladder, this.#clock.now())
  }

  /**
   * The requester may have disconnected, so an unroutable reply is not an error. Anyone may set the header, and dead letters keep it:
   * a destination with groups loses no message because of it.
   */
  #isForRequester({ headers, destination }: EncodedMessage): boolean {
    return headers[REPLY_TO_REQUEST] !== undefined && !this.#known.hasGroups(destination)
  }

  /** Why the message can never be written; known before it is published. */
  cannotTake(message: EncodedMessage): TransportError | undefined {
    try {
      this.encode(message)
      return undefined
    } catch (cause) {
      return this.unwritable(message, toError(cause))
    }
  }

  unwritable(message: EncodedMessage, cause: Error): TransportError {
    return unwritable(message, this.#options.maxMessageBytes, cause)
  }
}
