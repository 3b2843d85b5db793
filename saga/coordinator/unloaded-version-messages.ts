/** Signal messages for sagas whose version this process has not loaded, and messages that others stored for its versions. */
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { DeliveryContext } from '../../binder/consuming/context.ts'
import { toError } from '../../core/errors.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { messageSteps } from '../definition/saga-destinations.ts'
import type { LeftMessage, Listener } from '../store/left-messages.ts'
import { BatchedReads } from './batched-reads.ts'
import { appliedWithinLease } from './lease-length-timeout.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Passes a message of a channel to the steps of this version. */
export type TakeMessage = (saga: Saga, channel: string, message: EncodedMessage) => Promise<void>

/** Maximum number of messages per poll. */
const LIMIT = 16

export class UnloadedVersionMessages {
  readonly #runtime: CoordinatorRuntime
  readonly #take: TakeMessage
  readonly #versions: readonly Saga[]
  readonly #listeners: BatchedReads<string, readonly Listener[]>
  readonly #trouble: RepeatedFailureLog
  #looking: Promise<void> | undefined
  /** Monotonic ms of the next poll. */
  #nextAt = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(runtime: CoordinatorRuntime, take: TakeMessage) {
    this.#runtime = runtime
    this.#take = take
    this.#versions = runtime.sagas.filter((saga) => messageSteps(saga).length > 0)
    this.#trouble = new RepeatedFailureLog(runtime.logger, 'looking for messages left for sagas of this version failed')
    this.#listeners = new BatchedReads<string, readonly Listener[]>(runtime.sql, async (channels) => {
      const all = await runtime.leftMessages.listeners(runtime.sql, [...new Set(channels)], runtime.sagas)
      return channels.map((channel) => all.filter((listener) => listener.channel === channel))
    })
  }

  /**
   * Stores a message for each version that is not loaded here and has open sagas that may wait for it. Only the `correlate`
   * function of that version decides which of them do.
   */
  async leave(channel: string, context: object): Promise<void> {
    const { sql, leftMessages, logger } = this.#runtime
    const listeners = await this.#listeners.get(channel)
    if (listeners.length === 0) return
    const message = DeliveryContext.messageOf(context)
    if (message === undefined) {
      throw new Error(
        `message of ${channel}: not left for an instance that has the version of its saga, because a middleware has replaced the context`,
      )
    }
    await leftMessages.leave(sql, listeners, message)
    const sagas = listeners.map(({ name, version }) => `${name}@${version}`)
    logger.debug({ channel, sagas }, 'message left for sagas whose version is not loaded here')
  }

  /** Starts to process messages stored for the versions of this process, unless it already does. */
  look(): void {
    const { clock, pollMs } = this.#runtime
    const now = clock.monotonic()
    if (this.#versions.length === 0 || this.#isClosed || this.#looking !== undefined || now < this.#nextAt) return
    this.#nextAt = now + pollMs
    this.#looking = this.#takeAll()
      .then(() => this.#trouble.over())
      .catch((error: unknown) => this.#trouble.failed(toError(error)))
      .finally(() => (this.#looking = undefined))
  }

  /** Resolves when all taken messages have been tried. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#looking
  }

  async #takeAll(): Promise<void> {
    const { sql, leftMessages, leaseMs } = this.#runtime
    while (!this.#isClosed) {
      const taken = await leftMessages.take(sql, leaseMs, this.#versions, LIMIT)
      await Promise.all(taken.map((message) => this.#apply(message)))
      if (taken.length < LIMIT) return
    }
  }

  async #apply(left: LeftMessage): Promise<void> {
    const { name, version, channel, message, isLast } = left
    const saga = this.#versions.find((each) => each.name === name && each.version === version)
    if (saga === undefined) return
    try {
      const what = `the message of ${channel} that was left for ${name}@${version}`
      await appliedWithinLease(this.#runtime, what, this.#take(saga, channel, message))
      await this.#runtime.leftMessages.remove(this.#runtime.sql, left)
    } catch (error) {
      const fields = { saga: name, version, channel, message: message.id, row: left.id, err: toError(error) }
      const { logger } = this.#runtime
      if (isLast)
        logger.error(fields, 'message that was left for this version is not applied: it stays in saga_message')
      else logger.warn(fields, 'message that was left for this version is not applied, it is tried again')
    }
  }
}
