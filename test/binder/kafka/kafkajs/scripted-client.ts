import { createRequire } from 'node:module'
import { type Clock, MINUTE, silentLogger, systemClock } from 'concordat/core'
import { AssignerProtocol } from 'kafkajs'
import {
  createConsumer as consumerOf,
  gatedAssigner,
  type KafkaClient,
  KafkaSubscription,
  resolveKafkaOptions,
} from '../inside.ts'
import { type Refusal, ScriptedGroup } from '../scripted-group.ts'

const load = createRequire(import.meta.url)
const createConsumer = load('kafkajs/src/consumer') as (options: object) => ReturnType<KafkaClient['consumer']>
const { createErrorFromCode } = load('kafkajs/src/protocol/error') as {
  readonly createErrorFromCode: (code: number) => Error
}

const { KafkaJSConnectionClosedError } = load('kafkajs/src/errors') as {
  readonly KafkaJSConnectionClosedError: new (message: string, options: object) => Error
}

const CODES: Readonly<Record<Refusal, number>> = {
  NOT_LEADER_FOR_PARTITION: 6,
  GROUP_LOAD_IN_PROGRESS: 14,
  NOT_COORDINATOR_FOR_GROUP: 16,
  ILLEGAL_GENERATION: 22,
  UNKNOWN_MEMBER_ID: 25,
  REBALANCE_IN_PROGRESS: 27,
}
const TOPIC = 't'

interface Member {
  readonly memberId: string
  readonly groupGenerationId: number
}
interface Topics<Partition> {
  readonly topics: ReadonlyArray<{ readonly partitions: readonly Partition[] }>
}

/** A scripted group below kafkajs' own consumer: runner, fetchers, offsets and heartbeats are the real ones. */
export class ScriptedClient {
  readonly group: ScriptedGroup
  /** The brokers that are known, and lead the partitions in turn. */
  nodes: readonly number[]

  constructor(ends: readonly number[], nodes: readonly number[] = [1]) {
    this.nodes = nodes
    this.group = new ScriptedGroup(
      ends,
      (why) => createErrorFromCode(CODES[why]),
      () => new KafkaJSConnectionClosedError('Closed connection', { host: 'broker', port: 9092 }),
    )
  }

  /** The kafkajs client of this broker, for `new KafkaSubscription`. */
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

  #cluster(): object {
    const done = (): Promise<void> => Promise.resolve()
    const node = this.#node()
    // The same object for the life of a consumer, as in kafkajs.
    const known = {}
    return {
      connect: done,
      disconnect: done,
      refreshMetadata: done,
      refreshMetadataIfNecessary: done,
      addMultipleTargetTopics: done,
      removeBroker: () => {},
      getNodeIds: () => this.nodes,
      findGroupCoordinator: () => Promise.resolve(node),
      findBroker: () => Promise.resolve(node),
      findTopicPartitionMetadata: () =>
        this.group.ends.map((_, partitionId) => ({ partitionId, leader: this.nodes[partitionId % this.nodes.length] })),
      committedOffsets: () => known,
    }
  }

  #node(): object {
    const { group } = this
    return {
      isConnected: () => true,
      // Answers here are not bytes, so the client makes no request of them.
      lookupRequest: () => ({}),
      joinGroup: ({ memberId }: Member) => group.askJoin(() => this.#join(memberId)),
      syncGroup: ({ memberId, generationId }: Member & { generationId: number }) =>
        group.askShare(() => this.#sync({ memberId, groupGenerationId: generationId })),
      heartbeat: (member: Member) => group.ask(() => group.heartbeat(placeOf(member))),
      leaveGroup: () => group.ask(() => group.expel()),
      offsetFetch: ({ topics }: Topics<{ partition: number }>) => group.ask(() => this.#positions(topics)),
      offsetCommit: (commit: Member & Topics<{ partition: number; offset: string }>) =>
        group.ask(() => this.#commit(commit)),
      fetch: ({ topics }: Topics<{ partition: number; fetchOffset: string }>) =>
        group.ask(() => this.#records(topics), 'leader'),
    }
  }

  #join(id: string): object {
    const { memberId, generation: generationId } = this.group.join(id)
    return { generationId, leaderId: 'another', memberId, members: [], groupProtocol: 'RoundRobinAssigner' }
  }

  #sync(member: Member): object {
    const share = this.group.sync(placeOf(member))
    const assignment = share.length === 0 ? {} : { [TOPIC]: [...share] }
    return {
      memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 0, assignment, userData: Buffer.alloc(0) }),
    }
  }

  #positions(topics: Topics<{ partition: number }>['topics']): object {
    const partitions = topics.flatMap((topic) => topic.partitions)
    const offsets = partitions.map(({ partition }) => ({ partition, offset: String(this.group.committed[partition]) }))
    return { responses: [{ topic: TOPIC, partitions: offsets }] }
  }

  #commit(commit: Member & Topics<{ partition: number; offset: string }>): void {
    const all = commit.topics.flatMap(({ partitions }) => partitions)
    this.group.commit(placeOf(commit), new Map(all.map(({ partition, offset }) => [partition, Number(offset)])))
  }

  #records(topics: Topics<{ partition: number; fetchOffset: string }>['topics']): object {
    const partitions = topics
      .flatMap((topic) => topic.partitions)
      .map(({ partition, fetchOffset }) => {
        const messages = this.group.offsetsFrom(partition, Number(fetchOffset)).map((offset) => ({
          key: null,
          value: Buffer.from('x'),
          timestamp: '0',
          offset: String(offset),
          headers: {},
        }))
        const highWatermark = String(this.group.ends[partition] ?? 0)
        return { partition, highWatermark, abortedTransactions: [], messages }
      })
    return { responses: [{ topicName: TOPIC, partitions }] }
  }
}

function placeOf({ memberId, groupGenerationId: generation }: Member) {
  return { memberId, generation }
}

const silent = { namespace: () => silent, debug() {}, info() {}, warn() {}, error() {} }

/** A subscription on such a broker. Its group waits for as long as the test takes. */
export function subscribeTo(
  { group, kafka }: ScriptedClient,
  prefetch: number,
  receiver: ConstructorParameters<typeof KafkaSubscription>[2],
  clock: Clock = systemClock,
): KafkaSubscription {
  const options = resolveKafkaOptions({
    kafka,
    sessionTimeoutMs: 20 * MINUTE,
    heartbeatIntervalMs: 50,
    rebalanceTimeoutMs: 20 * MINUTE,
    maxWaitMs: 10,
  })
  const partitions = group.ends.length
  return new KafkaSubscription(
    { topic: TOPIC, groupId: 'g.t', partitions, prefetch, prefetchBytes: 1_000_000, startAt: undefined },
    {
      options,
      clock,
      logger: silentLogger,
      createConsumer: (each, { beforeJoin, onFetched, onAsk }) =>
        consumerOf(options, each, gatedAssigner(clock, beforeJoin), onFetched, onAsk),
      onAnswer: () => {},
      onEnd: () => Promise.resolve(),
    },
    receiver,
  )
}
