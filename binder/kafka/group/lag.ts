import type { Admin } from '../driver.ts'

/**
 * Returns the uncommitted number of messages of a group over all partitions, including those behind an open transaction; of a
 * partition without a commit all, because a group begins at the earliest offset. Counts offsets, which include those of aborted
 * and control records and of compacted messages until a member has read past them.
 */
export async function lagOf(admin: Admin, topic: string, groupId: string): Promise<number> {
  const asked = [admin.ranges(topic), admin.committed(groupId, topic)] as const
  // Both have ended when this returns, even if one failed, because a running request uses the connection.
  await Promise.allSettled(asked)
  const [ends, positions] = await Promise.all(asked)
  let lag = 0
  // Retention may have deleted messages before a long-stopped group read them.
  for (const { partition, low, high } of ends) lag += Math.max(0, high - Math.max(positions.get(partition) ?? low, low))
  return lag
}
