/**
 * The round robin assigner of kafkajs, byte for byte on the wire, so that members of any driver here, and of kafkajs itself, can
 * share a group. Pure.
 */
import { ByteReader, ByteWriter } from '../records/bytes.ts'
import { ChunkedBytes } from '../records/chunked-bytes.ts'

/** Name of the assigner, on which the members of a group agree, and version of its data. */
export const ROUND_ROBIN = { name: 'RoundRobinAssigner', version: 0 } as const

/** A member, as seen by the leader of the group. */
export interface Sharer {
  readonly memberId: string
  /** Topics of its subscription; `undefined`: unknown. */
  readonly topics?: readonly string[] | undefined
}

export interface MemberShare {
  readonly memberId: string
  readonly memberAssignment: Buffer
}

/** Assigns partitions in turn to members in the order of their ids. A member that reads none of these topics gets none. */
export function assignRoundRobin(
  members: readonly Sharer[],
  topics: readonly string[],
  partitionsOf: (topic: string) => readonly number[],
): MemberShare[] {
  const reads = ({ topics: own }: Sharer): boolean => own === undefined || topics.some((topic) => own.includes(topic))
  const ids = members
    .filter(reads)
    .map((member) => member.memberId)
    .sort()
  const shares = ids.map(() => new Map<string, number[]>())
  const places = topics.flatMap((topic) => partitionsOf(topic).map((partition) => ({ topic, partition })))
  for (const [i, { topic, partition }] of places.entries()) {
    const share = shares[i % ids.length]
    share?.set(topic, [...(share.get(topic) ?? []), partition])
  }
  return ids.flatMap((memberId, i) => {
    const share = shares[i]
    return share === undefined || share.size === 0 ? [] : [{ memberId, memberAssignment: encodeShare(share) }]
  })
}

/** ConsumerProtocolSubscription v0: version, topics, user data (none). */
export function encodeSubscription(topics: readonly string[]): Buffer {
  const to = new ByteWriter().int16(ROUND_ROBIN.version)
  return to.array(topics, (topic) => to.string(topic)).bytesField(NO_USER_DATA).bytes
}

/** Returns the topics of a subscription of any version; `undefined`: unreadable. */
export function topicsIn(subscription: Buffer): readonly string[] | undefined {
  try {
    const from = behindVersion(subscription)
    return from.array(() => topicIn(from))
  } catch {
    return undefined
  }
}

/** Returns the topics that members read besides this one. */
export function otherTopics(topic: string, members: readonly Sharer[]): readonly string[] {
  const all = new Set(members.flatMap(({ topics = [] }) => topics))
  all.delete(topic)
  return [...all]
}

/** Returns a share by topic; an empty one has none. @throws RangeError when it ends too early */
export function partitionsIn(share: Buffer): ReadonlyMap<string, readonly number[]> {
  if (share.length === 0) return new Map()
  const from = behindVersion(share)
  return new Map(from.array(() => [topicIn(from), from.array(() => from.int32())] as const))
}

/** @throws RangeError for none */
function topicIn(from: ByteReader): string {
  const topic = from.nullableString()
  if (topic === null) throw new RangeError('a topic without a name')
  return topic
}

/** Skips the version at the beginning of subscriptions and assignments. */
function behindVersion(bytes: Buffer): ByteReader {
  const from = new ByteReader(ChunkedBytes.of(bytes))
  from.int16()
  return from
}

/** ConsumerProtocolAssignment v0: version, partitions by topic, user data (none). */
function encodeShare(share: ReadonlyMap<string, readonly number[]>): Buffer {
  const to = new ByteWriter().int16(ROUND_ROBIN.version)
  to.array([...share], ([topic, partitions]) => to.string(topic).array(partitions, (partition) => to.int32(partition)))
  return to.bytesField(NO_USER_DATA).bytes
}

const NO_USER_DATA = Buffer.alloc(0)
