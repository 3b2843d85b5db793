/**
 * Two rules for the joins of one consumer, which kafkajs 2.2 does not keep.
 *
 * **One at a time.** When the leaders of two brokers' partitions move, kafkajs joins twice at once: after the first join the consumer would
 * read its partitions while the second already lets another member have them. The second waits here until the first has ended.
 *
 * **A join that failed is repeated.** kafkajs joins again after some refusals only. When the coordinator is still loading the group, or the
 * connection ends in the middle of a join, it silently returns to fetching in its old generation, which a restarted coordinator may still
 * know: heartbeats are answered, and the partitions that were handed over for the join have no reader. So a fetch that begins after an
 * incomplete join gets the error that the group rebalances, and kafkajs joins again.
 */
import type { KafkaCluster } from '../client-types.ts'

/** The calls of a join, and the one that each round of fetching begins with. */
interface Joining {
  findGroupCoordinator(group: unknown): Promise<Coordinator>
  refreshMetadata(): Promise<void>
  getNodeIds(): readonly number[]
}

interface Coordinator {
  joinGroup(request: unknown): Promise<unknown>
  syncGroup(request: unknown): Promise<unknown>
  heartbeat(request: unknown): Promise<unknown>
}

/** Called as a request leaves whose answer says that the group knows this member. kafkajs tells only of the answer. */
export type AskListener = (request: 'share' | 'heartbeat') => void

const CALLS = ['findGroupCoordinator', 'refreshMetadata', 'getNodeIds'] as const

/** The joins of one consumer. */
export class Joins {
  readonly #onAsk: AskListener
  #state: 'joined' | 'joining' | 'failed' = 'joined'
  /** The end of the join that is under way. */
  #end = Promise.withResolvers<void>()
  /** Number of calls that have no answer yet. */
  #open = 0

  constructor(onAsk: AskListener) {
    this.#onAsk = onAsk
  }

  /** The consumer has its share of the group. */
  joined(): void {
    if (this.#state === 'joining') this.#ended('joined')
  }

  #ended(how: 'joined' | 'failed'): void {
    this.#state = how
    this.#end.resolve()
  }

  /** @throws TypeError when the cluster is not that of kafkajs 2.2 */
  watch(cluster: KafkaCluster): void {
    const joining = cluster as unknown as Joining
    const missing = CALLS.find((name) => typeof joining[name] !== 'function')
    if (missing !== undefined)
      throw new TypeError(`kafkaTransport needs kafkajs 2.2: the cluster of this one has no ${missing}`)
    const find = joining.findGroupCoordinator.bind(cluster)
    const refresh = joining.refreshMetadata.bind(cluster)
    const getNodeIds = joining.getNodeIds.bind(cluster)
    const known = new WeakSet<Coordinator>()
    joining.findGroupCoordinator = async (group) => {
      while (this.#state === 'joining') await this.#end.promise
      this.#state = 'joining'
      this.#end = Promise.withResolvers()
      const coordinator = await this.#step(() => find(group))
      if (!known.has(coordinator)) this.#watchCoordinator(coordinator)
      known.add(coordinator)
      return coordinator
    }
    // Called outside of joins, too.
    joining.refreshMetadata = () => this.#step(refresh, () => this.#state === 'joining')
    joining.getNodeIds = () => {
      if (this.#state !== 'failed') return getNodeIds()
      throw Object.assign(new Error('the group was not joined'), { type: 'REBALANCE_IN_PROGRESS' })
    }
  }

  #watchCoordinator(coordinator: Coordinator): void {
    const join = coordinator.joinGroup.bind(coordinator)
    const sync = coordinator.syncGroup.bind(coordinator)
    const beat = coordinator.heartbeat.bind(coordinator)
    coordinator.joinGroup = (request) => this.#step(() => join(request))
    coordinator.syncGroup = (request) => {
      this.#onAsk('share')
      return this.#step(() => sync(request))
    }
    coordinator.heartbeat = (request) => {
      this.#onAsk('heartbeat')
      return beat(request)
    }
  }

  /** A refresh that a failed fetch requests counts, too: at worst the next join begins beside the one that is under way. */
  async #step<T>(take: () => Promise<T>, isPartOfJoin = () => true): Promise<T> {
    this.#open++
    try {
      return await take()
    } catch (error) {
      if (isPartOfJoin()) this.#ended('failed')
      throw error
    } finally {
      this.#open--
      // kafkajs makes the next call in the same turn, unless it throws: an answer cannot be decoded, or the assigner fails.
      setImmediate(() => {
        if (this.#open === 0 && this.#state === 'joining') this.#ended('failed')
      })
    }
  }
}
