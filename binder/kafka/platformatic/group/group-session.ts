import type { Clock } from '../../../../core/clock.ts'
import { type Instant, readInstant } from '../../../../core/elapsed-time.ts'
import { DeadlineExceeded } from '../../deadline.ts'
import { hasType } from '../../errors.ts'
import type { CommitCall } from '../../group/commits.ts'
import {
  assignRoundRobin,
  encodeSubscription,
  otherTopics,
  partitionsIn,
  ROUND_ROBIN,
  topicsIn,
} from '../../group/round-robin.ts'
import { ConnectFailed, ConnectionLost } from '../errors.ts'
import { type Cluster, isPassing, RETRY } from '../network/cluster.ts'
import { KafkaRefusal } from '../protocol/errors.ts'
import { heartbeat, type JoinAnswer, joinGroup, leaveGroup, syncGroup } from '../protocol/group.ts'
import { commitOffsets, fetchOffsets } from '../protocol/offsets.ts'
import type { Request } from '../protocol/request-codec.ts'

export interface SessionSpec {
  readonly groupId: string
  readonly topic: string
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly rebalanceTimeoutMs: number
  readonly requestTimeoutMs: number
}

/** A term of the group, and what of the topic it gives to this member. */
export interface Term {
  readonly generation: number
  /** When this member asked for its share. */
  readonly askedAt: Instant
  readonly partitions: readonly number[]
  readonly isLeader: boolean
  /** How many the topic had when the leader shared them out; of another member 0. */
  readonly shared: number
  /** Topics that members of the group read beside this one, as far as this member knows. */
  readonly others: readonly string[]
}

/** The conversation of one member with its coordinator. It decides nothing: the member says when to join and when to leave. */
export class GroupSession {
  readonly #spec: SessionSpec
  readonly #cluster: Cluster
  readonly #clock: Clock
  #memberId = ''
  #generation = -1
  /** When the last heartbeat left, or the request for the share. */
  #beatAt = 0
  #isJoining = false

  constructor(spec: SessionSpec, cluster: Cluster, clock: Clock) {
    this.#spec = spec
    this.#cluster = cluster
    this.#clock = clock
  }

  /**
   * Joins, whatever it takes: waits for a coordinator, goes on as another member when the group has forgotten this one.
   * @param mayGoOn throws when it may not, or not after that
   * @throws what will not pass: rights, another protocol, a full group
   */
  async join(mayGoOn: (after?: unknown) => void): Promise<Term> {
    this.#isJoining = true
    this.#generation = -1
    try {
      for (let pauseMs: number = RETRY.firstMs; ; pauseMs = Math.min(2 * pauseMs, RETRY.longestMs)) {
        mayGoOn()
        try {
          return await this.#joinOnce()
        } catch (error) {
          this.#requirePassing(error)
          mayGoOn(error)
        }
        await this.#clock.sleep(pauseMs)
      }
    } finally {
      this.#isJoining = false
    }
  }

  get isBeatDue(): boolean {
    return this.isPlaced && this.#clock.monotonic() - this.#beatAt >= this.#spec.heartbeatIntervalMs
  }

  async heartbeat(): Promise<void> {
    this.#beatAt = this.#clock.monotonic()
    if (this.isPlaced) await this.#call(heartbeat(this.#place()))
  }

  /** False before and during a join. */
  get isPlaced(): boolean {
    return this.#generation >= 0
  }

  /**
   * Commits positions of the present place, later too, but not after it: another member may be further by then. It rejects with KafkaRefusal,
   * also without a place: without a generation a group that is empty would take any commit.
   */
  committer(): CommitCall {
    const place = this.#place()
    return async (positions) => {
      if (!this.isPlaced || place.generation !== this.#generation)
        throw new KafkaRefusal('ILLEGAL_GENERATION', `group "${this.#spec.groupId}" is being joined`)
      await this.#call(commitOffsets(place, this.#spec.topic, positions))
    }
  }

  /** By partition, without those in which nothing is committed. */
  async committed(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    return this.#call(fetchOffsets(this.#spec.groupId, this.#spec.topic, partitions))
  }

  /** Best effort. A join that is under way keeps its connection busy: another one carries it then. */
  async leave(): Promise<void> {
    if (this.#memberId === '') return
    const request = leaveGroup(this.#spec.groupId, this.#memberId)
    await this.#cluster.callCoordinator(this.#spec.groupId, request, this.#isJoining ? 'main' : 'group')
  }

  async #joinOnce(): Promise<Term> {
    const { groupId, topic, sessionTimeoutMs, rebalanceTimeoutMs, requestTimeoutMs } = this.#spec
    const request = joinGroup({
      groupId,
      memberId: this.#memberId,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocol: ROUND_ROBIN.name,
      subscription: encodeSubscription([topic]),
    })
    const answer = await this.#call(request, rebalanceTimeoutMs + requestTimeoutMs)
    if (answer.error === 'MEMBER_ID_REQUIRED') {
      this.#memberId = answer.memberId
      return this.#joinOnce()
    }
    if (answer.error !== undefined) throw new KafkaRefusal(answer.error, `group "${groupId}" was not joined`)
    this.#memberId = answer.memberId
    return this.#sync(answer)
  }

  async #sync({ generation, memberId, members, isLeader }: JoinAnswer): Promise<Term> {
    const { groupId, topic } = this.#spec
    const all = isLeader ? (await this.#cluster.freshTopic(topic)).partitions.map(({ partition }) => partition) : []
    const sharers = members.map((member) => ({ ...member, topics: topicsIn(member.subscription) }))
    const shares = isLeader ? assignRoundRobin(sharers, [topic], () => all.sort((a, b) => a - b)) : []
    const askedAt = readInstant(this.#clock)
    const share = await this.#call(
      syncGroup({ groupId, memberId, generation }, shares),
      this.#spec.rebalanceTimeoutMs + this.#spec.requestTimeoutMs,
    )
    this.#generation = generation
    this.#beatAt = askedAt.monotonicMs
    const given = partitionsIn(share)
    const others = [...otherTopics(topic, sharers), ...[...given.keys()].filter((each) => each !== topic)]
    const partitions = [...(given.get(topic) ?? [])]
    return { generation, askedAt, partitions, isLeader, shared: all.length, others }
  }

  /** @throws what will not pass */
  #requirePassing(error: unknown): void {
    if (hasType(error, 'UNKNOWN_MEMBER_ID', 'FENCED_INSTANCE_ID')) this.#memberId = ''
    else if (!hasType(error, 'REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION') && !isAway(error)) throw error
  }

  #place() {
    return { groupId: this.#spec.groupId, memberId: this.#memberId, generation: this.#generation }
  }

  async #call<T>(request: Request<T>, timeoutMs?: number): Promise<T> {
    try {
      return await this.#cluster.callCoordinator(this.#spec.groupId, request, 'group', timeoutMs)
    } catch (error) {
      if (isAway(error)) this.#cluster.forgetCoordinator(this.#spec.groupId)
      throw error
    }
  }
}

/** The coordinator cannot be reached, or is about to be another one. */
function isAway(error: unknown): boolean {
  if (error instanceof KafkaRefusal) return isPassing(error.type)
  if (error instanceof ConnectFailed) return error.type === undefined
  return error instanceof ConnectionLost || error instanceof DeadlineExceeded || error instanceof AggregateError
}
