import type { Admin } from '../driver.ts'
import { offsetIn, partitionIn } from './position-text.ts'

/**
 * Lets a group that has committed nothing begin elsewhere than at the earliest offset.
 * @param at `latest`, or epoch ms: the first record of that time or later
 */
export async function placeGroup(admin: Admin, groupId: string, topic: string, at: 'latest' | number): Promise<void> {
  if (await hasCommitted(admin, groupId, topic)) return
  const positions =
    at === 'latest'
      ? new Map((await admin.ranges(topic)).map(({ partition, high }) => [partition, high]))
      : await admin.offsetsAt(topic, at)
  // Another member may have come, committed and gone meanwhile: behind what it left unread lies what was asked for last.
  if (await hasCommitted(admin, groupId, topic)) return
  // Where another member is there, it has placed the group.
  await admin.place(groupId, topic, positions)
}

/**
 * Lets a group that has committed nothing begin right behind a position, by default at the first record.
 * @returns false when it has members, which alone commit
 */
export async function placeBehind(
  admin: Admin,
  groupId: string,
  topic: string,
  position: string | undefined,
): Promise<boolean> {
  const positions =
    position === undefined
      ? new Map((await admin.ranges(topic)).map(({ partition, low }) => [partition, low]))
      : new Map([[partitionIn(position), offsetIn(position) + 1]])
  return (await hasCommitted(admin, groupId, topic)) || admin.place(groupId, topic, positions)
}

async function hasCommitted(admin: Admin, groupId: string, topic: string): Promise<boolean> {
  return (await admin.committed(groupId, topic)).size > 0
}
