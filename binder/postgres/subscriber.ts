import { TransportError } from '../errors.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/transport-error-factory.ts'
import type { Receiver, Subscription, SubscriptionSpec } from '../transport/transport.ts'
import { ClaimedPartition } from './claimed-partition.ts'
import type { LogContext } from './context.ts'
import type { Members } from './members.ts'
import { AnonymousSource } from './partition-sources.ts'
import { type LogPlace, LogSubscription } from './subscription.ts'
import { failure, toTransportError } from './transport-errors.ts'
import type { Wakes } from './wakes.ts'

/** Start of a subscription without a group. */
interface StartPositions extends LogPlace {
  readonly starts: ReadonlyArray<{ readonly source: AnonymousSource; readonly place: ClaimedPartition }>
}

/** Opens subscriptions, and ends the remaining ones when the transport closes. */
export class Subscriber {
  readonly #context: LogContext
  readonly #members: Members
  readonly #wakes: Wakes
  readonly #subscriptions: Set<LogSubscription>
  #isClosed = false

  /** @param subscriptions open subscriptions, which this adds to and removes from */
  constructor(context: LogContext, members: Members, wakes: Wakes, subscriptions: Set<LogSubscription>) {
    this.#context = context
    this.#members = members
    this.#wakes = wakes
    this.#subscriptions = subscriptions
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()))
  }

  /** Subscribes; the destination exists. @throws TransportError */
  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const { destination, group } = spec
    const { directory, session, host, options } = this.#context
    const members = this.#members
    const place = group === null ? await this.#startPositions(destination) : await directory.group(destination, group)
    if (place instanceof TransportError) throw place
    if (spec.settlesIn !== undefined && !('starts' in place)) await directory.settlesIn(place.id)
    const subscription: LogSubscription = new LogSubscription(spec, place, receiver, {
      clock: host.clock,
      commitIntervalMs: options.commitIntervalMs,
      rebalanceTimeoutMs: options.rebalanceTimeoutMs,
      isValid: () => session.isValid(),
      fenced: () => void members.look(),
      unsure: ({ group: left }) => void (left !== undefined && members.unsure(left)),
      lookSoon: () => this.#wakes.soon(),
      ended: async (ended) => {
        this.#subscriptions.delete(ended)
        await members.leave(ended)
      },
    })
    if (this.#isClosed) throw failure('closed', CLOSED_TRANSPORT)
    this.#subscriptions.add(subscription)
    try {
      if ('starts' in place) for (const each of place.starts) subscription.hold(each.source, each.place)
      else await members.join(subscription, place.partitions)
    } catch (error) {
      await subscription.close()
      throw toTransportError(`subscribe to "${destination}"`, error, options.schema, destination)
    }
    this.#wakes.start()
    return subscription
  }

  /** Returns the current ends, for messages from now on. */
  async #startPositions(destination: string): Promise<StartPositions | TransportError> {
    const { database, tables } = this.#context
    const { rows } = await database.query<{ part: number; n: number; next: string; log: string }>(
      `subscribe to "${destination}"`,
      `SELECT e.part, e.n, e.next::text AS next, r.tableoid::text AS log FROM ${tables.ends}($1) e CROSS JOIN ${tables.ring} r`,
      [destination],
    )
    const log = rows[0]?.log
    if (log === undefined)
      return failure('unavailable', `"${destination}" does not exist: provision it`, { destination })
    const starts = rows.map(({ part, n, next }) => {
      const from = Number(next)
      const place = new ClaimedPartition({ settled: from, handed: from, done: [] })
      return { source: new AnonymousSource({ database, tables, log }, part, n), place }
    })
    return { id: undefined, log, starts }
  }
}
