import type { MemberSpec } from '../driver.ts'

/**
 * What the partitions of one member hold while it waits to be lent. A partition that holds its share is not fetched, nor is any
 * once all of them hold the limit together: then what is lent has to go first.
 */
export class WaitingBytes {
  readonly #limits: WaitingLimits
  readonly #share: number
  #total = 0

  constructor(limits: WaitingLimits) {
    this.#limits = limits
    this.#share = limits.prefetchBytes / Math.max(1, limits.partitions)
  }

  add(bytes: number): void {
    this.#total += bytes
  }

  /** @param own what the partition that asks holds */
  hasRoom(own: number): boolean {
    return own < this.#share && (this.#limits.evenShares === true || this.#total < this.#limits.prefetchBytes)
  }
}

export interface WaitingLimits {
  readonly prefetchBytes: number
  /** That share it. */
  readonly partitions: number
  /** Each has its share, however long the others hold theirs. */
  readonly evenShares?: boolean | undefined
}

/** How many messages of one partition may wait to be lent. */
export function partitionWindow({
  prefetch,
  partitions,
  evenShares,
}: Pick<MemberSpec, 'prefetch' | 'partitions' | 'evenShares'>): number {
  return evenShares === true ? Math.ceil(prefetch / partitions) : prefetch
}

/** How much is fetched at a time. */
export interface FetchSizes {
  /** The most that is kept of one partition in one answer: the rest is fetched again. */
  readonly roomBytes: number
  /** Limit of an answer, on the wire. */
  readonly maxBytes: number
  /** Limit of a partition in it. */
  readonly maxPartitionBytes: number
}

const MIN_FETCH_BYTES = 64 * 1024
/** Fetched records live until they are handled: twice as many, measured, cost a third more CPU, in garbage collection. */
const MAX_PARTITION_BYTES = 512 * 1024
const MAX_FETCH_BYTES = 10 * 1024 * 1024
/** Ratio of the memory of short records to their bytes on the wire. */
const HELD_TO_WIRE = 3

/** @param partitions of the topic */
export function fetchSizes({ prefetchBytes, partitions }: Omit<WaitingLimits, 'evenShares'>): FetchSizes {
  const share = Math.floor(prefetchBytes / Math.max(1, partitions))
  const maxPartitionBytes = Math.min(MAX_PARTITION_BYTES, Math.max(MIN_FETCH_BYTES, share))
  return {
    roomBytes: Math.max(share, HELD_TO_WIRE * maxPartitionBytes),
    maxBytes: Math.min(MAX_FETCH_BYTES, Math.max(MIN_FETCH_BYTES, Math.floor(prefetchBytes / HELD_TO_WIRE))),
    maxPartitionBytes,
  }
}
