import { MINUTE } from '../../../core/clock.ts'
import type { AmqpChannel, AmqpMessage } from '../link/amqplib-types.ts'
import { idleQueueOf, membersQueueOf } from '../topology/topology-names.ts'

/**
 * Counts the members of a group with two queues that never contain a message: each member consumes from the first, each member
 * without a partition from the second, and declaring a queue returns its number of consumers. A member that dies disappears from
 * the counts at once, because the broker keeps them; no message and no clock is involved. (The count of a partition's own queue
 * does not help: quorum queues count the active consumer only.)
 */
export class GroupMemberCounts {
  readonly channel: AmqpChannel
  readonly #members: string
  readonly #idle: string
  #idleTag: string | undefined
  /** The broker ended a consumer because its queue was deleted: other members no longer count this one. */
  #isGone = false
  readonly #onMessage = (message: AmqpMessage | null): void => {
    if (message === null) this.#isGone = true
  }

  private constructor(channel: AmqpChannel, destination: string, group: string) {
    this.channel = channel
    this.#members = membersQueueOf(destination, group)
    this.#idle = idleQueueOf(destination, group)
  }

  /** Takes over the channel. */
  static async join(channel: AmqpChannel, destination: string, group: string): Promise<GroupMemberCounts> {
    const counts = new GroupMemberCounts(channel, destination, group)
    channel.on('error', () => {})
    await counts.#count(counts.#members)
    await channel.consume(counts.#members, counts.#onMessage, { noAck: true })
    return counts
  }

  /** Publishes whether this member has partitions, and reads the counts. @throws when it has to join again */
  async look(isIdle: boolean): Promise<{ readonly members: number; readonly idle: number }> {
    if (this.#isGone) throw new Error(`RabbitMQ ended a consumer of queue ${this.#members} or ${this.#idle}`)
    await this.#setIdle(isIdle)
    return { members: await this.#count(this.#members), idle: await this.#count(this.#idle) }
  }

  async #setIdle(isIdle: boolean): Promise<void> {
    if (isIdle === (this.#idleTag !== undefined)) return
    if (this.#idleTag === undefined) {
      await this.#count(this.#idle)
      this.#idleTag = (await this.channel.consume(this.#idle, this.#onMessage, { noAck: true })).consumerTag
    } else {
      await this.channel.cancel(this.#idleTag)
      this.#idleTag = undefined
    }
  }

  async #count(queue: string): Promise<number> {
    return (await this.channel.assertQueue(queue, COUNTER)).consumerCount
  }
}

/** The broker deletes it some time after its last member has left. */
const COUNTER = Object.freeze({ durable: true, arguments: { 'x-expires': 1 * MINUTE } })
