/**
 * The round robin of kafkajs (`group/round-robin.ts`) with one addition: a gate before every JoinGroup.
 *
 * Reason: a rebalance is safe only if this member has finished with its partitions before it rejoins. kafkajs 2.2 rejoins as soon
 * as a heartbeat requires it, while handlers are still running, and has no hook that it would wait for. Its assigners, however,
 * receive the consumer's own `cluster`, and each join, whatever its cause, begins with `await cluster.findGroupCoordinator(...)`.
 * This call of this consumer waits for the gate first.
 */
import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import { assignRoundRobin, encodeSubscription, ROUND_ROBIN, type Sharer, topicsIn } from '../group/round-robin.ts'
import type { KafkaAssigner, KafkaCluster } from './client-types.ts'

/**
 * Resolves when this member may join. A rejection stops the consumer permanently.
 * @param attempt number of the coordinator lookup in this join, from 1: later lookups belong to the same join
 */
export type JoinGate = (attempt: number) => Promise<void>

/**
 * Maximum number of coordinator lookups. A broker that has just started, or a coordinator that moves, cannot answer for a while,
 * and kafkajs would give up.
 */
const COORDINATOR_ATTEMPTS = 20
const COORDINATOR_PAUSE_MS = 250

/**
 * Creates an assigner for `partitionAssigners` whose consumer waits for `gate` before it joins.
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
