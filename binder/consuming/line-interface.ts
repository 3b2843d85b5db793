/** Decides when the next item of a line may start, in addition to the line itself. */
export interface LineAdmission {
  /**
   * How many of `wanted` may start now, which is then counted; 0 to `wanted`. When it said less than `wanted` the gate
   * wakes the line as soon as it is worth asking again.
   */
  admit(wanted: number): number
}

/** A consumer's waiting items: one by one (`Lanes`) or in batches (`BatchFormation`). */
export interface Line<Item> {
  /** Handler calls under way. */
  readonly running: number
  /** Items that have not started. */
  readonly queued: number
  push(item: Item): void
  /** Starts nothing more until `release`; what runs goes on. */
  hold(): void
  release(): void
  /** Looks whether something may start now. */
  wake(): void
  /** Takes out every item that has not started and that `match` accepts. */
  remove(match: (item: Item) => boolean): Item[]
  /** Resolves when nothing runs. */
  idle(): Promise<void>
}
