/**
 * The round robin of kafkajs, byte for byte on the wire (members of both kinds can share a group), with one addition:
 * a gate before every JoinGroup.
 *
 * Why: a rebalance is safe only if this member has finished with its partitions before it joins again. kafkajs 2.2 joins
 * at once when a heartbeat says so, while handlers are still at work, and offers no hook that it would wait for. Its
 * assigners, though, get the consumer's own `cluster`, and each join, whatever caused it, begins with
 * `await cluster.findGroupCoordinator(...)`. That call of that one consumer is made to wait for the gate first.
 */
import type { Clock } from '../../../core/clock.ts'
import { ConcordatError, toError } from '../../../core/errors.ts'
import type { KafkaAssigner, KafkaCluster } from './client.ts'

/** Resolves when this member may join. A rejection stops the consumer for good. */
export type JoinGate = () => Promise<void>

/** A broker that has just started, or a coordinator that moves, has no answer for a while: kafkajs would give up. */
const COORDINATOR_ATTEMPTS = 20
const COORDINATOR_PAUSE_MS = 250

/** A consumer that was given up must not come back into the group behind our back. */
export class JoinRefused extends ConcordatError {
  readonly code = 'binder.kafka.join_refused' as const
  readonly retryable = false as const
  /** kafkajs' own word for "do not try again". */
  readonly retriable = false as const
}

const NAME = 'RoundRobinAssigner'
const VERSION = 0

/** An assigner for `partitionAssigners` whose consumer waits for `gate` before it joins. */
export function gatedAssigner(
  clock: Clock,
  gate: JoinGate,
): (config: { readonly cluster: KafkaCluster }) => KafkaAssigner {
  return ({ cluster }) => {
    installGate(cluster, clock, gate)
    return {
      name: NAME,
      version: VERSION,
      assign: ({ members, topics }) => Promise.resolve(assign(cluster, members, topics)),
      protocol: ({ topics }) => ({ name: NAME, metadata: encodeMember(topics) }),
    }
  }
}

interface CoordinatorFinder {
  findGroupCoordinator(group: unknown): Promise<unknown>
}

function installGate(cluster: object, clock: Clock, gate: JoinGate): void {
  const finder = cluster as CoordinatorFinder
  if (typeof finder.findGroupCoordinator !== 'function')
    throw new TypeError('kafkaTransport needs kafkajs 2.2: the cluster of this one has no findGroupCoordinator')
  const find = finder.findGroupCoordinator.bind(cluster)
  finder.findGroupCoordinator = async (group) => {
    for (let attempt = 1; ; attempt++) {
      await gate()
      try {
        return await find(group)
      } catch (error) {
        if (attempt >= COORDINATOR_ATTEMPTS || toError(error).name !== 'KafkaJSGroupCoordinatorNotFound') throw error
        await clock.sleep(COORDINATOR_PAUSE_MS)
      }
    }
  }
}

function assign(
  cluster: KafkaCluster,
  members: ReadonlyArray<{ readonly memberId: string }>,
  topics: readonly string[],
): Array<{ memberId: string; memberAssignment: Buffer }> {
  const ids = members.map((member) => member.memberId).sort()
  const shares = ids.map(() => new Map<string, number[]>())
  const places = topics.flatMap((topic) =>
    cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => ({ topic, partitionId })),
  )
  for (const [i, { topic, partitionId }] of places.entries()) {
    const share = shares[i % ids.length]
    share?.set(topic, [...(share.get(topic) ?? []), partitionId])
  }
  return ids.flatMap((memberId, i) => {
    const share = shares[i]
    return share === undefined || share.size === 0 ? [] : [{ memberId, memberAssignment: encodeShare(share) }]
  })
}

/** ConsumerProtocolSubscription v0: version, topics, user data. */
function encodeMember(topics: readonly string[]): Buffer {
  return Buffer.concat([int16(VERSION), int32(topics.length), ...topics.map(string), int32(0)])
}

/** ConsumerProtocolAssignment v0: version, partitions by topic, user data. */
function encodeShare(share: ReadonlyMap<string, readonly number[]>): Buffer {
  const topics = [...share].map(([topic, partitions]) =>
    Buffer.concat([string(topic), int32(partitions.length), ...partitions.map(int32)]),
  )
  return Buffer.concat([int16(VERSION), int32(topics.length), ...topics, int32(0)])
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function string(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([int16(bytes.length), bytes])
}
