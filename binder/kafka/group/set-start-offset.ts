import type { Admin } from '../driver.ts'
import { offsetIn, partitionIn } from './position-text.ts'

/**
 * Sets the start of a group without commits.
 * @param at `latest`, or epoch ms: the first record at that time or later
 */
export async function placeGroup(admin: Admin, groupId: string, topic: string, at: 'latest' | number): Promise<void> {
  if (await hasCommitted(admin, groupId, topic)) return
  const positions =
    at === 'latest'
      ? new Map((await admin.ranges(topic)).map(({ partition, high }) => [partition, high]))
      : await admin.offsetsAt(topic, at)
  // Another member may have joined, committed and left meanwhile; its unread messages precede the requested position.
  if (await hasCommitted(admin, groupId, topic)) return
  // If there is another member, it has set the start.
  await admin.place(groupId, topic, positions)
}

/**
 * Sets the start of a group without commits right behind a position, by default at the first record.
 * @returns false if it has members, because only these can commit
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
