import type { KafkaAdmin } from './client.ts'

/**
 * What a group has not committed, over all partitions, behind an open transaction too; of a partition without a commit
 * everything, since a group begins at the earliest offset. Counts offsets: those of aborted and control records and of what
 * was compacted away are among them until a member has read past them.
 */
export async function lagOf(admin: KafkaAdmin, topic: string, groupId: string): Promise<number> {
  const asked = [admin.fetchTopicOffsets(topic), admin.fetchOffsets({ groupId, topics: [topic] })] as const
  // Both have ended when this does, also when one failed: what is under way keeps the connection.
  await Promise.allSettled(asked)
  const [ends, [committed]] = await Promise.all(asked)
  const positions = new Map(committed?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
  let lag = 0
  for (const { partition, low, high } of ends) {
    const position = positions.get(partition) ?? -1
    // Retention may have overtaken a group that was away for long.
    lag += Math.max(0, Number(high) - Math.max(position, Number(low)))
  }
  return lag
}
