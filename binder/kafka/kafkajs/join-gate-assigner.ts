/**
 * The round robin of kafkajs (`group/round-robin.ts`) with one addition: a gate before every JoinGroup.
 *
 * Why: a rebalance is safe only if this member has finished with its partitions before it joins again. kafkajs 2.2 joins
 * at once when a heartbeat says so, while handlers are still at work, and offers no hook that it would wait for. Its
 * assigners, though, get the consumer's own `cluster`, and each join, whatever caused it, begins with
 * `await cluster.findGroupCoordinator(...)`. That call of that one consumer is made to wait for the gate first.
 */
import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import { assignRoundRobin, encodeSubscription, ROUND_ROBIN, type Sharer, topicsIn } from '../group/round-robin.ts'
import type { KafkaAssigner, KafkaCluster } from './client-types.ts'

/**
 * Resolves when this member may join. A rejection stops the consumer permanently.
 * @param attempt how often the coordinator was looked up in this join, from 1: later lookups belong to the same join
 */
export type JoinGate = (attempt: number) => Promise<void>

/** A broker that has just started, or a coordinator that moves, has no answer for a while: kafkajs would give up. */
const COORDINATOR_ATTEMPTS = 20
const COORDINATOR_PAUSE_MS = 250

/**
 * An assigner for `partitionAssigners` whose consumer waits for `gate` before it joins.
 * @param onShare called with the members when this one leads the group
 */
export function gatedAssigner(
  clock: Clock,
  gate: JoinGate,
  onShare: (members: readonly Sharer[]) => void = () => {},
): (config: { readonly cluster: KafkaCluster }) => KafkaAssigner {
  return ({ cluster }) => {
    installGate(cluster, clock, gate)
    const partitionsOf = (topic: string): number[] =>
      cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId)
    return {
      name: ROUND_ROBIN.name,
      version: ROUND_ROBIN.version,
      assign: async ({ members, topics }) => {
        const sharers = members.map(({ memberId, memberMetadata }) => ({ memberId, topics: topicsIn(memberMetadata) }))
        onShare(sharers)
        return assignRoundRobin(sharers, topics, partitionsOf)
      },
      protocol: ({ topics }) => ({ name: ROUND_ROBIN.name, metadata: encodeSubscription(topics) }),
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
      await gate(attempt)
      try {
        return await find(group)
      } catch (error) {
        if (attempt >= COORDINATOR_ATTEMPTS || toError(error).name !== 'KafkaJSGroupCoordinatorNotFound') throw error
        await clock.sleep(COORDINATOR_PAUSE_MS)
      }
    }
  }
}
