import { createRequire } from 'node:module'
import { AssignerProtocol } from 'kafkajs'
import type { KafkaClient } from './inside.ts'

const load = createRequire(import.meta.url)
const createConsumer = load('kafkajs/src/consumer') as (options: object) => ReturnType<KafkaClient['consumer']>
const { createErrorFromCode } = load('kafkajs/src/protocol/error') as {
  readonly createErrorFromCode: (code: number) => Error
}

const ILLEGAL_GENERATION = 22
const UNKNOWN_MEMBER_ID = 25
const REBALANCE_IN_PROGRESS = 27
const TOPIC = 't'
const FETCH_COUNT = 3

interface Member {
  readonly memberId: string
  readonly groupGenerationId: number
}
interface Topics<Partition> {
  readonly topics: ReadonlyArray<{ readonly partitions: readonly Partition[] }>
}

/**
 * One broker and one group, below kafkajs' own consumer: runner, fetchers, offsets and heartbeats are the real ones.
 * Nothing is answered before the test says so, and in the order of a connection: a request waits behind the one before
 * it, and the client may read several answers at once. Other members are there only as what they take and give.
 */
export class ScriptedBroker {
  /** By partition: the end of the log, what the group has committed, what was begun by anybody. */
  readonly ends: number[]
  readonly committed: number[]
  readonly begun: number[]
  #assigned: readonly number[] = []
  #next: readonly number[]
  #othersTake = 0
  #generation = 0
  #members = 0
  #member: string | undefined
  #rebalancing = false
  /** The connection to the coordinator, and the one for fetching. */
  readonly #asked: Array<() => void> = []
  readonly #fetches: Array<() => void> = []
  #answers: Array<() => void> = []

  constructor(ends: readonly number[]) {
    this.ends = [...ends]
    this.committed = ends.map(() => 0)
    this.begun = ends.map(() => 0)
    this.#next = ends.map((_, partition) => partition)
  }

  /** For `new KafkaSubscription`: the kafkajs client of this broker. */
  get kafka(): KafkaClient {
    const never = (): never => {
      throw new Error('not used')
    }
    const cluster = this.#cluster()
    return {
      producer: never,
      admin: never,
      consumer: (config) => createConsumer({ ...config, cluster, logger: silent, metadataMaxAge: 300_000 }),
    }
  }

  /** The partitions of a member that has joined and is not asked to join again; `undefined` when there is none. */
  get settledOn(): readonly number[] | undefined {
    return this.#member === undefined || this.#rebalancing ? undefined : this.#assigned
  }

  /** The coordinator takes the next request. */
  serve(): void {
    this.#asked.shift()?.()
  }

  serveFetch(): void {
    this.#fetches.shift()?.()
  }

  /** The client reads everything that was answered, in one piece. */
  read(): void {
    const answers = this.#answers
    this.#answers = []
    for (const answer of answers) answer()
  }

  /** Another member comes or goes: the next join gets these partitions, and others do so many of the rest. */
  rebalance(next: readonly number[], othersTake: number): void {
    this.#rebalancing = true
    this.#next = next
    this.#othersTake = othersTake
  }

  /** The session is over: the group forgets the member. */
  expel(): void {
    this.#member = undefined
  }

  #cluster(): object {
    const done = (): Promise<void> => Promise.resolve()
    const node = this.#node()
    // One object for the life of a consumer, as in kafkajs.
    const known = {}
    return {
      connect: done,
      disconnect: done,
      refreshMetadata: done,
      refreshMetadataIfNecessary: done,
      addMultipleTargetTopics: done,
      removeBroker: () => {},
      getNodeIds: () => [1],
      findGroupCoordinator: () => Promise.resolve(node),
      findBroker: () => Promise.resolve(node),
      findTopicPartitionMetadata: () => this.ends.map((_, partitionId) => ({ partitionId, leader: 1 })),
      committedOffsets: () => known,
    }
  }

  #node(): object {
    return {
      isConnected: () => true,
      // Its answers are not bytes, so no request is made of them.
      lookupRequest: () => ({}),
      joinGroup: ({ memberId }: Member) => this.#ask(() => this.#join(memberId)),
      syncGroup: ({ memberId, generationId }: Member & { generationId: number }) =>
        this.#ask(() => this.#sync({ memberId, groupGenerationId: generationId })),
      heartbeat: (member: Member) => this.#ask(() => this.#check(member)),
      leaveGroup: () => this.#ask(() => this.expel()),
      offsetFetch: ({ topics }: Topics<{ partition: number }>) => this.#ask(() => this.#positions(topics)),
      offsetCommit: (commit: Member & Topics<{ partition: number; offset: string }>) =>
        this.#ask(() => this.#commit(commit)),
      fetch: ({ topics }: Topics<{ partition: number; fetchOffset: string }>) =>
        this.#ask(() => this.#records(topics), this.#fetches),
    }
  }

  #ask<T>(answer: () => T, queue = this.#asked): Promise<T> {
    return new Promise((resolve, reject) => {
      queue.push(() => {
        try {
          const value = answer()
          this.#answers.push(() => resolve(value))
        } catch (error) {
          this.#answers.push(() => reject(error as Error))
        }
      })
    })
  }

  #known({ memberId, groupGenerationId }: Member): void {
    if (memberId !== this.#member) throw createErrorFromCode(UNKNOWN_MEMBER_ID)
    if (groupGenerationId !== this.#generation) throw createErrorFromCode(ILLEGAL_GENERATION)
  }

  #check(member: Member): void {
    this.#known(member)
    if (this.#rebalancing) throw createErrorFromCode(REBALANCE_IN_PROGRESS)
  }

  #join(memberId: string): object {
    if (memberId !== '' && memberId !== this.#member) throw createErrorFromCode(UNKNOWN_MEMBER_ID)
    this.#member ??= `m${++this.#members}`
    this.#generation++
    this.#rebalancing = false
    this.#assigned = this.#next
    for (const [partition, end] of this.ends.entries()) {
      if (this.#assigned.includes(partition)) continue
      const position = Math.min(end, (this.committed[partition] ?? 0) + this.#othersTake)
      this.committed[partition] = position
      this.begun[partition] = Math.max(this.begun[partition] ?? 0, position)
    }
    const generationId = this.#generation
    return {
      generationId,
      leaderId: 'another',
      memberId: this.#member,
      members: [],
      groupProtocol: 'RoundRobinAssigner',
    }
  }

  #sync(member: Member): object {
    this.#check(member)
    const assignment = this.#assigned.length === 0 ? {} : { [TOPIC]: [...this.#assigned] }
    return {
      memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 0, assignment, userData: Buffer.alloc(0) }),
    }
  }

  #positions(topics: Topics<{ partition: number }>['topics']): object {
    const partitions = topics.flatMap((topic) => topic.partitions)
    const offsets = partitions.map(({ partition }) => ({ partition, offset: String(this.committed[partition]) }))
    return { responses: [{ topic: TOPIC, partitions: offsets }] }
  }

  #commit(commit: Member & Topics<{ partition: number; offset: string }>): void {
    this.#known(commit)
    for (const { partition, offset } of commit.topics.flatMap(({ partitions }) => partitions))
      this.committed[partition] = Number(offset)
  }

  #records(topics: Topics<{ partition: number; fetchOffset: string }>['topics']): object {
    const partitions = topics
      .flatMap((topic) => topic.partitions)
      .map(({ partition, fetchOffset }) => {
        const end = this.ends[partition] ?? 0
        const from = Number(fetchOffset)
        const count = Math.max(0, Math.min(FETCH_COUNT, end - from))
        const messages = Array.from({ length: count }, (_, i) => ({
          key: null,
          value: Buffer.from('x'),
          timestamp: '0',
          offset: String(from + i),
          headers: {},
        }))
        return { partition, highWatermark: String(end), abortedTransactions: [], messages }
      })
    return { responses: [{ topicName: TOPIC, partitions }] }
  }
}

const silent = { namespace: () => silent, debug() {}, info() {}, warn() {}, error() {} }
