/** What of a record tells it from another one at its offset. */
interface Stamped {
  /** Epoch ms. */
  readonly timestamp: string | bigint | number
}

/** What of a partition was settled and not committed when its assignment ended. */
interface Kept {
  /** Last committed position, or where the assignment began: a group that begins below it was moved back to read again. */
  readonly from: number
  /** Timestamps by offset: after a topic was made anew, or lost records, another record lies at an offset. */
  readonly timestamps: ReadonlyMap<number, string>
}

/**
 * What one group of this process has settled and could not commit any more, since its place in the group was taken away. A
 * partition that comes back to this process goes on behind it: a settled message is not handled again.
 *
 * Outlives the members of the group. Kept until the partition is assigned to this process again, at most what was settled since
 * the last commit of each partition.
 */
export class SettledOffsets {
  readonly #kept = new Map<number, Kept>()

  keep(partition: number, kept: Kept): void {
    this.#kept.set(partition, kept)
  }

  /** What was kept of a partition that is assigned again, once. */
  take(partition: number): Kept | undefined {
    const kept = this.#kept.get(partition)
    this.#kept.delete(partition)
    return kept
  }
}

/** What one assignment of a partition has settled since its last commit, and what was settled before it. */
export class SettledRecords {
  #before: Kept | undefined
  /** In the order in which they were settled. */
  #offsets: number[] = []
  #timestamps: Array<Stamped['timestamp']> = []
  #highest = -1
  #from: number | undefined

  constructor(before: Kept | undefined) {
    this.#before = before
  }

  /** Tells where the group begins; later calls are nothing. */
  beginAt(offset: number): void {
    if (this.#from !== undefined) return
    this.#from = offset
    if (this.#before !== undefined && offset < this.#before.from) this.#before = undefined
  }

  /** Whether the record was settled in an earlier assignment. */
  has(offset: number, record: Stamped): boolean {
    const timestamp = this.#before?.timestamps.get(offset)
    if (timestamp === undefined) return false
    if (timestamp === String(record.timestamp)) return true
    this.#before = undefined
    return false
  }

  add(offset: number, record: Stamped): void {
    if (offset > this.#highest) this.#highest = offset
    this.#offsets.push(offset)
    this.#timestamps.push(record.timestamp)
  }

  /** Everything below `position` is committed. */
  committed(position: number): void {
    this.#from = position
    const offsets: number[] = []
    const timestamps: Array<Stamped['timestamp']> = []
    for (let i = 0; this.#highest >= position && i < this.#offsets.length; i++) {
      const offset = this.#offsets[i] as number
      if (offset < position) continue
      offsets.push(offset)
      timestamps.push(this.#timestamps[i] as Stamped['timestamp'])
    }
    this.#offsets = offsets
    this.#timestamps = timestamps
  }

  /** What is not committed; `undefined` when there is nothing. What was settled before and did not come again stays known. */
  get uncommitted(): Kept | undefined {
    const before = this.#before?.timestamps ?? []
    const now = this.#offsets.map((offset, index) => [offset, String(this.#timestamps[index])] as const)
    const timestamps = new Map([...before, ...now])
    return timestamps.size === 0 ? undefined : { from: this.#from ?? this.#before?.from ?? 0, timestamps }
  }
}
