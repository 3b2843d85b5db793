import { type Clock, SECOND } from '../../../../core/clock.ts'
import { ConnectFailed } from '../errors.ts'
import { type Broker, findCoordinator, type Metadata, metadata, type TopicMetadata } from '../protocol/cluster.ts'
import { errorName, KafkaRefusal } from '../protocol/errors.ts'
import type { Request } from '../protocol/request-codec.ts'
import { BrokerLink, type MakeConnection } from './broker-link.ts'

/** A leader, a coordinator or a broker that is about to be another, or to be there. */
const PASSING = new Set([
  'BROKER_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'GROUP_LOAD_IN_PROGRESS',
  'KAFKA_STORAGE_ERROR',
  'LEADER_NOT_AVAILABLE',
  'NOT_CONTROLLER',
  'NOT_COORDINATOR_FOR_GROUP',
  'NOT_LEADER_FOR_PARTITION',
  'REPLICA_NOT_AVAILABLE',
  'UNKNOWN_LEADER_EPOCH',
])

/** True where the same request may be answered when leaders and coordinators were looked up again. */
export function isPassing(type: string | undefined): boolean {
  return type !== undefined && PASSING.has(type)
}

export interface ClusterSettings {
  readonly makeConnection: MakeConnection
  readonly bootstrap: ReadonlyArray<{ readonly host: string; readonly port: number }>
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  /** Memory of silent brokers that several clusters share. @default each cluster has its own */
  readonly silent?: SilentBrokers | undefined
}

/** Maps an address to the monotonic time at which that broker last failed to answer: `Cluster.any` asks such brokers last. */
export type SilentBrokers = Map<string, number>

/** Connections of one purpose to one broker: a fetch that waits would hold up a heartbeat. */
export type Lane = 'main' | 'group' | 'fetch'

const UNKNOWN_TOPIC = 'UNKNOWN_TOPIC_OR_PARTITION'
/** A producer follows partitions that were added within this. */
const TOPIC_AGE_MS = 30 * SECOND

interface Address {
  readonly host: string
  readonly port: number
}

function nameOf({ host, port }: Address): string {
  return `${host}:${port}`
}

function linkName(place: Address, lane: Lane): string {
  return `${lane} ${nameOf(place)}`
}

/** Ranks of brokers that were not silent, below every time. */
const CONNECTED = -2
const NOT_CONNECTED = -1

/** The brokers as one user of them sees them: connections, made when they are needed, and who leads what. */
export class Cluster {
  readonly #options: ClusterSettings
  readonly #clock: Clock
  readonly #links = new Map<string, Promise<BrokerLink>>()
  /** Links that are connected, or were. */
  readonly #made = new Map<string, BrokerLink>()
  readonly #brokers = new Map<number, Broker>()
  readonly #topics = new Map<string, { readonly found: TopicMetadata; readonly at: number }>()
  readonly #silent: SilentBrokers
  readonly #coordinators = new Map<string, Broker>()
  #closed = false

  constructor(options: ClusterSettings, clock: Clock) {
    this.#options = options
    this.#clock = clock
    this.#silent = options.silent ?? new Map()
  }

  /** Asks one of the brokers. @throws ConnectFailed when none can be reached */
  async metadata(topics: readonly string[] | null): Promise<Metadata> {
    const found = await this.any(metadata(topics))
    this.#brokers.clear()
    for (const broker of found.brokers) this.#brokers.set(broker.id, broker)
    for (const topic of found.topics) {
      if (topic.errorCode === 0) this.#topics.set(topic.name, { found: topic, at: this.#clock.monotonic() })
      else this.#topics.delete(topic.name)
    }
    return found
  }

  /** The partitions of a topic, as they were not long ago: some may have been added. @throws KafkaRefusal when it is not known */
  async topic(name: string): Promise<TopicMetadata> {
    const known = this.#topics.get(name)
    if (known === undefined) return this.freshTopic(name)
    if (this.#clock.monotonic() - known.at < TOPIC_AGE_MS) return known.found
    try {
      return await this.freshTopic(name)
    } catch (error) {
      if (error instanceof KafkaRefusal) throw error
      return known.found
    }
  }

  /** The partitions of a topic as they are now. @throws KafkaRefusal when it is not known */
  async freshTopic(name: string): Promise<TopicMetadata> {
    const { topics } = await this.metadata([name])
    const found = topics.find((each) => each.name === name)
    const type = found === undefined ? UNKNOWN_TOPIC : errorName(found.errorCode)
    if (type !== undefined || found === undefined)
      throw new KafkaRefusal(type ?? UNKNOWN_TOPIC, `topic "${name}" is not there`, { topic: name })
    return found
  }

  /** Looks again next time. */
  forgetTopic(name: string): void {
    this.#topics.delete(name)
  }

  forgetCoordinator(groupId: string): void {
    this.#coordinators.delete(groupId)
  }

  /** A call to a broker by its id. @throws what `BrokerLink.call` does, ConnectFailed */
  async call<T>(id: number, request: Request<T>, lane: Lane, timeoutMs = this.#options.requestTimeoutMs): Promise<T> {
    const broker = this.#brokers.get(id)
    if (broker === undefined)
      throw new KafkaRefusal('BROKER_NOT_AVAILABLE', `${request.name}: broker ${id} is not there`)
    return (await this.#link(broker, lane)).call(request, timeoutMs)
  }

  /** A call to the coordinator of a group. */
  async callCoordinator<T>(
    groupId: string,
    request: Request<T>,
    lane: Lane,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<T> {
    const coordinator = this.#coordinators.get(groupId) ?? (await this.any(findCoordinator(groupId)))
    this.#coordinators.set(groupId, coordinator)
    return (await this.#link(coordinator, lane)).call(request, timeoutMs)
  }

  /** A call to any broker: one that is connected, or the first that can be. Brokers that were silent come last. */
  async any<T>(request: Request<T>): Promise<T> {
    const link = await this.#anyLink()
    try {
      const answer = await link.call(request, this.#options.requestTimeoutMs)
      this.#silent.delete(link.address)
      return answer
    } catch (error) {
      // A frozen broker accepts connections, and would be asked first forever. Its caller's time may be up first, and closes the cluster.
      if (!(error instanceof KafkaRefusal)) this.#wasSilent(link.address)
      throw error
    }
  }

  /** The connections are gone at once. */
  close(): void {
    this.#closed = true
    for (const link of this.#links.values()) link.then((each) => each.close()).catch(() => {})
    this.#links.clear()
  }

  async #anyLink(): Promise<BrokerLink> {
    const failures: unknown[] = []
    for (const place of this.#inOrder()) {
      try {
        return await this.#link(place, 'main')
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length === 1) throw failures[0]
    throw new AggregateError(failures, 'no broker can be reached')
  }

  /** Each address once: connected ones, others, and then the silent ones, the longest silent first. */
  #inOrder(): readonly Address[] {
    const known = [...this.#brokers.values(), ...this.#options.bootstrap]
    const places = new Map(known.map((place) => [nameOf(place), place]))
    return [...places.values()].sort((a, b) => this.#rankOf(a) - this.#rankOf(b))
  }

  #rankOf(place: Address): number {
    const isConnected = this.#made.get(linkName(place, 'main'))?.isOpen === true
    return this.#silent.get(nameOf(place)) ?? (isConnected ? CONNECTED : NOT_CONNECTED)
  }

  #wasSilent(address: string): void {
    this.#silent.set(address, this.#clock.monotonic())
  }

  async #link(place: Address, lane: Lane): Promise<BrokerLink> {
    const name = linkName(place, lane)
    for (;;) {
      if (this.#closed) throw new ConnectFailed(nameOf(place), new Error('the connections were closed'))
      const opening = this.#links.get(name) ?? this.#open(name, place)
      const link = await opening
      if (link.isOpen && !this.#closed) return link
      link.close()
      if (this.#links.get(name) !== opening) continue
      this.#links.delete(name)
      this.#made.delete(name)
    }
  }

  #open(name: string, place: Address): Promise<BrokerLink> {
    const { makeConnection, connectTimeoutMs } = this.#options
    const opening = BrokerLink.open(this.#clock, makeConnection, place, connectTimeoutMs)
    this.#links.set(name, opening)
    opening.then(
      (link) => this.#made.set(name, link),
      () => {
        this.#wasSilent(nameOf(place))
        if (this.#links.get(name) === opening) this.#links.delete(name)
      },
    )
    return opening
  }
}

/** Pauses between attempts: short at first. */
export const RETRY = { firstMs: 100, longestMs: 1 * SECOND } as const
