/**
 * Detects that a group does not continue at its position. A broker answers a fetch with `OFFSET_OUT_OF_RANGE` when retention has
 * deleted the records at that offset, or when the offset is past the end (the topic was recreated, or the broker lost records).
 * Every driver then continues at the first existing record; the next answer shows the distance.
 */
import type { Displacement } from '../../transport/transport.ts'

/** Serves one assignment, because before the next one another member may have read further. */
export class OffsetResetDetector {
  readonly #topic: string
  readonly #tell: (displacement: Displacement) => void
  /** Previous position by partition, until the next answer about it. */
  readonly #stood = new Map<number, number>()

  constructor(topic: string, tell: (displacement: Displacement) => void) {
    this.#topic = topic
    this.#tell = tell
  }

  /** Records that the broker has nothing at this offset. */
  outOfRange(partition: number, offset: number): void {
    if (!this.#stood.has(partition)) this.#stood.set(partition, offset)
  }

  /** Records that a fetch from that offset was answered. */
  heard(partition: number, offset: number, highWatermark: string | number): void {
    const stood = this.#stood.get(partition)
    if (stood === undefined) return
    this.#stood.delete(partition)
    const where = `partition ${partition} of "${this.#topic}"`
    if (offset > stood) {
      const skipped = offset - stood
      const reason =
        `${where}: ${skipped} messages (offsets ${stood} to ${offset - 1}) were deleted before this group read them. ` +
        'Give the channel a longer retentionMs, or keep groups from falling so far behind.'
      this.#tell({ reason, skipped, repeated: 0, isLoss: true })
      return
    }
    const repeated = Math.max(0, Number(highWatermark) - offset)
    const reason =
      `${where}: the group stood at offset ${stood}, past the end: the topic was made anew or the broker lost records. ` +
      `Reading begins at offset ${offset}; ${repeated} messages are there, of which it may have handled some.`
    this.#tell({ reason, skipped: 0, repeated, isLoss: false })
  }
}

/** A group that has committed nothing on a topic. */
export interface NewGroup {
  readonly topic: string
  readonly groupId: string
  /** Start; `undefined`: at the first message. */
  readonly at: 'latest' | number | undefined
  /** Number of records in the topic. */
  readonly records: number
  /** A Kafka group with the plain name of this one that has committed on the topic, left by another program. */
  readonly namesake: string | undefined
}

/**
 * Describes what a group without any commits skips or may read again. The broker does not distinguish a new group from one whose
 * offsets it has deleted (`offsets.retention.minutes`, 7 days by default, after the last member left).
 */
export function beginning({ topic, groupId, at, records, namesake }: NewGroup): Displacement | undefined {
  if (records === 0) return undefined
  const why =
    namesake === undefined
      ? `group "${groupId}" has no committed offset on "${topic}": it is new, or the broker has deleted its offsets ` +
        '(offsets.retention.minutes). '
      : `group "${groupId}" has no committed offset on "${topic}", but the Kafka group "${namesake}" has: to go on where that one ` +
        `stands, stop this process and give the transport groupIds: { '${topic}': { '${namesake}': '${namesake}' } }. `
  if (at === 'latest')
    return {
      reason: `${why}It begins at the end (startAt) and leaves out ${records} messages.`,
      skipped: records,
      repeated: 0,
      isLoss: false,
    }
  if (at !== undefined) return undefined
  return { reason: `${why}It reads ${records} messages from the first.`, skipped: 0, repeated: records, isLoss: false }
}
