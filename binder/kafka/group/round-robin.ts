/**
 * The round robin of kafkajs, byte for byte on the wire: members of any of our drivers, and of kafkajs itself, can share a
 * group. Pure.
 */
export const ROUND_ROBIN = { name: 'RoundRobinAssigner', version: 0 } as const

export interface MemberShare {
  readonly memberId: string
  readonly memberAssignment: Buffer
}

/** Partitions in turn to members in the order of their ids. */
export function assignRoundRobin(
  members: ReadonlyArray<{ readonly memberId: string }>,
  topics: readonly string[],
  partitionsOf: (topic: string) => readonly number[],
): MemberShare[] {
  const ids = members.map((member) => member.memberId).sort()
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

/** The partitions of one topic in a share; none in an empty one. @throws RangeError when it ends too early */
export function partitionsIn(share: Buffer, topic: string): number[] {
  if (share.length === 0) return []
  let at = 2
  const next32 = (): number => {
    at += 4
    return share.readInt32BE(at - 4)
  }
  const found: number[] = []
  for (let topics = next32(); topics > 0; topics--) {
    const length = share.readInt16BE(at)
    if (length < 0) throw new RangeError(`a topic's name of ${length} bytes`)
    const name = share.toString('utf8', at + 2, at + 2 + length)
    at += 2 + length
    for (let partitions = next32(); partitions > 0; partitions--) {
      const partition = next32()
      if (name === topic) found.push(partition)
    }
  }
  return found
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
