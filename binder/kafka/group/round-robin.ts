/**
 * The round robin of kafkajs, byte for byte on the wire: members of any of our drivers, and of kafkajs itself, can share a
 * group. Pure.
 */
export const ROUND_ROBIN = { name: 'RoundRobinAssigner', version: 0 } as const

/** A member, as the one that leads the group sees it. */
export interface Sharer {
  readonly memberId: string
  /** Topics of its subscription; `undefined`: not known. */
  readonly topics?: readonly string[] | undefined
}

export interface MemberShare {
  readonly memberId: string
  readonly memberAssignment: Buffer
}

/** Partitions in turn to members in the order of their ids. A member that reads none of these topics gets none. */
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

/** ConsumerProtocolSubscription v0: version, topics, user data. */
export function encodeSubscription(topics: readonly string[]): Buffer {
  return Buffer.concat([int16(ROUND_ROBIN.version), int32(topics.length), ...topics.map(string), int32(0)])
}

/** Topics of a subscription of any version; `undefined`: it cannot be read. */
export function topicsIn(subscription: Buffer): readonly string[] | undefined {
  try {
    const reader = new ShareReader(subscription)
    return Array.from({ length: reader.int32() }, () => reader.string())
  } catch {
    return undefined
  }
}

/** Topics that members read beside this one. */
export function otherTopics(topic: string, members: readonly Sharer[]): readonly string[] {
  const all = new Set(members.flatMap(({ topics = [] }) => topics))
  all.delete(topic)
  return [...all]
}

/** A share, by topic; an empty one has none. @throws RangeError when it ends too early */
export function partitionsIn(share: Buffer): ReadonlyMap<string, readonly number[]> {
  if (share.length === 0) return new Map()
  const reader = new ShareReader(share)
  const topics = Array.from({ length: reader.int32() }, () => {
    const topic = reader.string()
    return [topic, Array.from({ length: reader.int32() }, () => reader.int32())] as const
  })
  return new Map(topics)
}

/** Reads behind the version that subscriptions and assignments begin with. */
class ShareReader {
  readonly #bytes: Buffer
  #at = 2

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  string(): string {
    const length = this.#bytes.readInt16BE(this.#at)
    if (length < 0) throw new RangeError(`a topic's name of ${length} bytes`)
    this.#at += 2 + length
    return this.#bytes.toString('utf8', this.#at - length, this.#at)
  }
}

/** ConsumerProtocolAssignment v0: version, partitions by topic, user data. */
function encodeShare(share: ReadonlyMap<string, readonly number[]>): Buffer {
  const topics = [...share].map(([topic, partitions]) =>
    Buffer.concat([string(topic), int32(partitions.length), ...partitions.map(int32)]),
  )
  return Buffer.concat([int16(ROUND_ROBIN.version), int32(topics.length), ...topics, int32(0)])
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
