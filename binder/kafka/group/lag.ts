import type { Admin } from '../driver.ts'

/**
 * What a group has not committed, over all partitions, behind an open transaction too; of a partition without a commit
 * everything, since a group begins at the earliest offset. Counts offsets: those of aborted and control records and of what
 * was compacted away are among them until a member has read past them.
 */
export async function lagOf(admin: Admin, topic: string, groupId: string): Promise<number> {
  const asked = [admin.ranges(topic), admin.committed(groupId, topic)] as const
  // Both have ended when this does, also when one failed: what is under way keeps the connection.
  await Promise.allSettled(asked)
  const [ends, positions] = await Promise.all(asked)
  let lag = 0
  // Retention may have overtaken a group that was away for long.
  for (const { partition, low, high } of ends) lag += Math.max(0, high - Math.max(positions.get(partition) ?? low, low))
  return lag
}
