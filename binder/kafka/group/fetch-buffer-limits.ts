import type { MemberSpec } from '../driver.ts'

/**
 * Size of messages that wait to be lent in all partitions of one member. A partition that holds its share is not fetched, and
 * none is once all together hold the limit.
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

  /** @param own size that the calling partition holds */
  hasRoom(own: number): boolean {
    return own < this.#share && (this.#limits.evenShares === true || this.#total < this.#limits.prefetchBytes)
  }
}

export interface WaitingLimits {
  readonly prefetchBytes: number
  /** Number of partitions that share it. */
  readonly partitions: number
  /** True: each has its share, however long the others hold theirs. */
  readonly evenShares?: boolean | undefined
}

/** Returns how many messages of one partition may wait to be lent. */
export function partitionWindow({
  prefetch,
  partitions,
  evenShares,
}: Pick<MemberSpec, 'prefetch' | 'partitions' | 'evenShares'>): number {
  return evenShares === true ? Math.ceil(prefetch / partitions) : prefetch
}

/** Sizes of fetches. */
export interface FetchSizes {
  /** Maximum kept of one partition from one answer: the rest is fetched again. */
  readonly roomBytes: number
  /** Limit of an answer on the wire. */
  readonly maxBytes: number
  /** Limit of a partition in it. */
  readonly maxPartitionBytes: number
}

const MIN_FETCH_BYTES = 64 * 1024
/** Fetched records live until they are handled: with twice as many, measured, garbage collection costs a third more CPU. */
const MAX_PARTITION_BYTES = 512 * 1024
const MAX_FETCH_BYTES = 10 * 1024 * 1024
/** Ratio of the memory of short records to their size on the wire. */
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
