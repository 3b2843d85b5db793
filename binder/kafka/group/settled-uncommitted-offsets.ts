/** Fields that distinguish a record from another one at its offset. */
interface Stamped {
  /** Epoch ms. */
  readonly timestamp: string | bigint | number
}

/** Settled and uncommitted offsets of a partition when its assignment ended. */
interface Kept {
  /** Last committed position, or start of the assignment: a group that begins below it was moved back to read again. */
  readonly from: number
  /** Epoch ms by offset: after a topic was recreated, or lost records, another record has the offset. */
  readonly timestamps: ReadonlyMap<number, number>
}

/**
 * Offsets that a group in this process has settled but could no longer commit because it lost its membership. A partition that
 * returns to this process continues after them: a settled message is not handled again.
 *
 * Outlives the members of the group. Kept until the partition is assigned to this process again; at most the messages settled
 * since the last commit of each partition.
 */
export class SettledOffsets {
  /** True if the group was given a start on the topic, and has committed nothing since. */
  isBeginning = false
  readonly #kept = new Map<number, Kept>()

  keep(partition: number, kept: Kept): void {
    this.#kept.set(partition, kept)
  }

  /** Returns the stored offsets of a partition that is assigned again, once. */
  take(partition: number): Kept | undefined {
    const kept = this.#kept.get(partition)
    this.#kept.delete(partition)
    return kept
  }
}

/** Initial capacity for settled messages. */
const ROOM = 256

/**
 * Settled messages of one assignment of a partition since its last commit, and those settled before it. Numbers in typed arrays,
 * because the garbage collector would copy objects or texts that live until the next commit.
 */
export class SettledRecords {
  #before: Kept | undefined
  /** Offsets in the order in which they were settled. */
  #offsets = new Float64Array(ROOM)
  #timestamps = new Float64Array(ROOM)
  #count = 0
  #highest = -1
  #from: number | undefined

  constructor(before: Kept | undefined) {
    this.#before = before
  }

  /** Number of messages settled in this assignment but not committed. */
  get count(): number {
    return this.#count
  }

  /** Sets the start of the group; later calls have no effect. */
  beginAt(offset: number): void {
    if (this.#from !== undefined) return
    this.#from = offset
    if (this.#before !== undefined && offset < this.#before.from) this.#before = undefined
  }

  /** Tells whether the record was settled in an earlier assignment. */
  has(offset: number, record: Stamped): boolean {
    const timestamp = this.#before?.timestamps.get(offset)
    if (timestamp === undefined) return false
    if (timestamp === Number(record.timestamp)) return true
    this.#before = undefined
    return false
  }

  add(offset: number, record: Stamped): void {
    if (this.#count === this.#offsets.length) this.#grow()
    if (offset > this.#highest) this.#highest = offset
    this.#offsets[this.#count] = offset
    this.#timestamps[this.#count] = Number(record.timestamp)
    this.#count++
  }

  /** Records that everything below `position` is committed. */
  committed(position: number): void {
    this.#from = position
    this.#forgetBefore(position)
    let kept = 0
    for (let i = 0; this.#highest >= position && i < this.#count; i++) {
      const offset = this.#offsets[i] as number
      if (offset < position) continue
      this.#offsets[kept] = offset
      this.#timestamps[kept] = this.#timestamps[i] as number
      kept++
    }
    this.#count = kept
  }

  /** Uncommitted offsets; `undefined` without any. Offsets settled earlier that were not redelivered are included. */
  get uncommitted(): Kept | undefined {
    const timestamps = new Map(this.#before?.timestamps ?? [])
    for (let i = 0; i < this.#count; i++) timestamps.set(this.#offsets[i] as number, this.#timestamps[i] as number)
    return timestamps.size === 0 ? undefined : { from: this.#from ?? this.#before?.from ?? 0, timestamps }
  }

  #forgetBefore(position: number): void {
    if (this.#before === undefined) return
    const timestamps = new Map([...this.#before.timestamps].filter(([offset]) => offset >= position))
    this.#before = timestamps.size === 0 ? undefined : { ...this.#before, timestamps }
  }

  #grow(): void {
    const [offsets, timestamps] = [this.#offsets, this.#timestamps]
    this.#offsets = new Float64Array(2 * this.#count)
    this.#timestamps = new Float64Array(2 * this.#count)
    this.#offsets.set(offsets)
    this.#timestamps.set(timestamps)
  }
}
