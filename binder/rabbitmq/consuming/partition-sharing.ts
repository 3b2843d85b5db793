import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { ended } from '../../transport/kit/deadline.ts'
import type { Receiver, SubscriptionSpec } from '../../transport/transport.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { failure, toTransportError } from '../transport-errors.ts'
import { surplus } from './fair-partition-share.ts'
import { GroupMemberCounts } from './group-member-counts.ts'
import type { ConsumerHost, QueueConsumer } from './queue-consumer.ts'

/** Number of failed comparisons before one is logged, because a single one may be due to a busy broker. */
const FAILURES_TOLD = 2

export interface SharingFields extends Pick<SubscriptionSpec, 'destination' | 'group'> {
  readonly clock: Clock
  readonly logger: Logger
  readonly options: Pick<ResolvedRabbitOptions, 'rebalanceMs' | 'rebalanceTimeoutMs'>
  /** Owner of the channels, notified when it is lost. */
  readonly member: Pick<ConsumerHost, 'openChannel' | 'closeChannel' | 'broken'>
  readonly receiver: Receiver
  readonly closing: AbortSignal
  isPaused(): boolean
  /** @throws TransportError `timeout` */
  request<T>(what: string, promise: Promise<T>): Promise<T>
  openConsumer(consumer: QueueConsumer): Promise<void>
}

/** Compares the share of a member with the others' periodically, and passes the active role of surplus consumers on. */
export class PartitionSharing {
  readonly #consumers: readonly QueueConsumer[]
  readonly #fields: SharingFields

  constructor(consumers: readonly QueueConsumer[], fields: SharingFields) {
    this.#consumers = consumers
    this.#fields = fields
  }

  /** Compares until closed. Never rejects. */
  async run(): Promise<void> {
    const { clock, options, logger, destination, receiver, closing } = this.#fields
    let counts: GroupMemberCounts | undefined
    let failures = 0
    while (!closing.aborted) {
      try {
        counts ??= await this.#join()
        await this.#compare(counts)
        if (failures >= FAILURES_TOLD) receiver.stalled?.(undefined)
        failures = 0
      } catch (err) {
        if (!closing.aborted) {
          logger.debug({ err, destination }, 'could not compare partition shares')
          if (++failures === FAILURES_TOLD) receiver.stalled?.({ reason: this.#unshared(err), isPassing: true })
        }
        if (counts !== undefined) await this.#fields.member.closeChannel(counts.channel)
        counts = undefined
      }
      await clock.sleep(options.rebalanceMs * (0.75 + Math.random() / 2), closing).catch(() => {})
    }
    if (counts !== undefined) await this.#fields.member.closeChannel(counts.channel)
  }

  async #compare(counts: GroupMemberCounts): Promise<void> {
    const active = this.#consumers.filter((consumer) => consumer.active).length
    const { members, idle } = await this.#fields.request('count the members', counts.look(active === 0))
    const over = surplus({ partitions: this.#consumers.length, members, idle, active })
    if (over > 0 && !this.#fields.isPaused() && !this.#fields.closing.aborted) await this.#giveUp(over)
  }

  async #join(): Promise<GroupMemberCounts> {
    const { destination, group } = this.#fields
    const channel = await this.#fields.member.openChannel()
    try {
      return await this.#fields.request('join the group', GroupMemberCounts.join(channel, destination, group ?? ''))
    } catch (error) {
      // The reader may count as a member without a subscription behind it.
      await this.#fields.member.closeChannel(channel)
      throw error
    }
  }

  /** Passes the active role of some consumers on, those with the fewest messages to wait for. */
  async #giveUp(count: number): Promise<void> {
    const consumers = this.#consumers
      .filter((consumer) => consumer.active)
      .sort((a, b) => a.lent - b.lent || Math.random() - 0.5)
    const leaving = consumers.slice(0, count)
    const idle = leaving.map((consumer) => consumer.idle())
    this.#fields.receiver.recall()
    await Promise.all(leaving.map((consumer, i) => this.#rejoin(consumer, idle[i] as Promise<void>)))
  }

  /** Messages whose handlers still run after `rebalanceTimeoutMs` are withdrawn, as for a lost channel. */
  async #rejoin(consumer: QueueConsumer, idle: Promise<void>): Promise<void> {
    const { clock, options, closing } = this.#fields
    await ended(clock, options.rebalanceTimeoutMs, idle)
    if (closing.aborted) return
    await consumer.leave()
    if (closing.aborted) return
    try {
      await this.#fields.request(`consume from ${consumer.queue} again`, this.#fields.openConsumer(consumer))
    } catch (error) {
      this.#fields.member.broken(toError(error))
    }
  }

  #unshared(cause: unknown): Error {
    const { destination } = this.#fields
    const { message } = toTransportError(`compare partition shares of "${destination}"`, cause, destination)
    return failure(
      'unavailable',
      `${message} Until then some members of the group can have all partitions and others none.`,
      {
        destination,
        cause,
      },
    )
  }
}
