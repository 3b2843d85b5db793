import { toError } from '../../../core/errors.ts'
import type { TransportError } from '../../errors.ts'
import type { Receiver } from '../../transport/transport.ts'
import type { MemberSpec } from '../driver.ts'
import { hasType, transportError } from '../errors.ts'
import type { PartitionLending } from './partition-lending.ts'

export interface MemberLifeEvents {
  /** Translates an error of the driver. */
  toTransportError(error: unknown, attempted: string, topic: string): TransportError
  onAnswer(error: Error): void
  /** Returns the current assignment, which is withdrawn when the place in the group is lost. */
  current(): PartitionLending | undefined
  /** Called once. @param flush true while the place is held, so that settled positions can still be committed */
  shutDown(reason: Error, flush: boolean): Promise<void>
}

/**
 * State of a member, the same for every driver. It only moves forward.
 *
 *   opening -> open -> lost
 *          \_ ended, from anywhere, once
 */
export class MemberState {
  readonly #topic: string
  readonly #receiver: Receiver
  readonly #events: MemberLifeEvents
  readonly #joined = Promise.withResolvers<void>()
  #state: 'opening' | 'open' | 'lost' = 'opening'
  #ended: Promise<void> | undefined

  constructor({ topic }: Pick<MemberSpec, 'topic'>, receiver: Receiver, events: MemberLifeEvents) {
    this.#topic = topic
    this.#receiver = receiver
    this.#events = events
    this.#joined.promise.catch(() => {})
  }

  get isOpening(): boolean {
    return this.#state === 'opening'
  }

  get isOver(): boolean {
    return this.#ended !== undefined
  }

  /** Records that the member has joined the group. */
  joined(): void {
    this.#joined.resolve()
  }

  /**
   * @param begin starts the join
   * @param settle waits for everything that the member needs after joining
   * @throws TransportError
   */
  async open(begin: () => Promise<void>, settle: () => Promise<void>): Promise<void> {
    const topic = this.#topic
    try {
      await begin()
      await this.#joined.promise
      await settle()
      if (this.#state === 'lost') throw new Error('the subscription was lost as it began')
      this.#state = 'open'
    } catch (error) {
      this.lost(error)
      // The topic was provisioned before, but a broker that has just started may not know it yet.
      if (hasType(error, 'UNKNOWN_TOPIC_OR_PARTITION'))
        throw transportError('unavailable', `topic "${topic}" is not known to the broker (yet)`, topic, error)
      throw this.#events.toTransportError(error, `subscribing to "${topic}"`, topic)
    }
  }

  lost(error: unknown): void {
    if (this.#ended !== undefined) return
    const reason = toError(error)
    const wasOpen = this.#state === 'open'
    this.#state = 'lost'
    this.#events.onAnswer(reason)
    this.#joined.reject(reason)
    this.#events.current()?.withdraw(reason)
    void this.#end(reason, false)
    const topic = this.#topic
    if (wasOpen) this.#receiver.lost(this.#events.toTransportError(error, `consuming "${topic}"`, topic))
  }

  /** A lost member has nothing to flush: the next one need not wait until its connections end. */
  async close(): Promise<void> {
    if (this.#state !== 'lost') await this.ended()
  }

  /** Ends it if necessary; resolves when the driver has finished, or has taken too long. */
  ended(): Promise<void> {
    return this.#end(new Error('the subscription was closed'), true)
  }

  #end(reason: Error, flush: boolean): Promise<void> {
    this.#ended ??= Promise.resolve().then(() => {
      this.#joined.reject(reason)
      return this.#events.shutDown(reason, flush)
    })
    return this.#ended
  }
}
