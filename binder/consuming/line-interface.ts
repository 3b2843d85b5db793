/** Decides when the next item of a line may start, in addition to the line itself. */
export interface LineAdmission {
  /**
   * Returns how many of `wanted` may start now, and counts them; 0 to `wanted`. If it returned less than `wanted`, the gate wakes
   * the line when it is worth calling this again.
   */
  admit(wanted: number): number
}

/** A consumer's waiting items: one by one (`Lanes`) or in batches (`BatchFormation`). */
export interface Line<Item> {
  /** Number of running handler calls. */
  readonly running: number
  /** Items that have not started. */
  readonly queued: number
  push(item: Item): void
  /** Starts nothing more until `release`; running calls continue. */
  hold(): void
  release(): void
  /** Checks whether something may start now. */
  wake(): void
  /** Removes every item that has not started and that `match` accepts. */
  remove(match: (item: Item) => boolean): Item[]
  /** Resolves when nothing runs. */
  idle(): Promise<void>
}
