import { toError } from '../../../core/errors.ts'
import type { KafkaAdmin } from './client.ts'

/**
 * Lets a group that has committed nothing begin elsewhere than at the earliest offset.
 * @param at `latest`, or epoch ms: the first record of that time or later
 */
export async function placeGroup(
  admin: KafkaAdmin,
  groupId: string,
  topic: string,
  at: 'latest' | number,
): Promise<void> {
  if (await hasCommitted(admin, groupId, topic)) return
  const offsets =
    at === 'latest'
      ? (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => ({ partition, offset: high }))
      : await admin.fetchTopicOffsetsByTimestamp(topic, at)
  const partitions = offsets.map(({ partition, offset }) => ({ partition, offset }))
  try {
    await admin.setOffsets({ groupId, topic, partitions })
  } catch (error) {
    // Another member is there: it has placed the group.
    if (!/must have no running instances/.test(toError(error).message)) throw error
  }
}

async function hasCommitted(admin: KafkaAdmin, groupId: string, topic: string): Promise<boolean> {
  const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return committed?.partitions.some(({ offset }) => Number(offset) >= 0) ?? false
}
