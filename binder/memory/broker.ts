import type { Resolved } from '../../core/resolved-options.ts'

/**
 * A broker in the process: partitioned logs with durable groups, shared by the transports created with it. It exists as long as
 * the object does. `interrupt` and `recover` simulate a broker that becomes unavailable and returns with its data.
 */
export interface MemoryBroker {
  /** Cuts every connection; until `recover`, publishing and subscribing fail as if no broker answered. */
  interrupt(): void
  recover(): void
}

/** Options of `memoryBroker`: its limits. */
export interface MemoryBrokerOptions {
  /**
   * Number of settled messages that a partition keeps, so that a new group can start at the earliest.
   * @default 1 000
   */
  readonly retainMessages?: number | undefined
  /**
   * Maximum number of messages in one partition that the slowest of its groups has not settled. At this limit a publisher waits,
   * for the `sendTimeoutMs` of its binder. After that its message is accepted if readers are running, up to twice the limit,
   * because they may be waiting for it; otherwise it fails with a TransportError of kind `refused`. The same number per partition
   * may wait to be due; further ones are refused at once. @default 100 000
   */
  readonly maxBacklog?: number | undefined
  /**
   * Same limit in bytes: bodies, keys, headers and about 200 for each message. Retained messages are dropped first. @default 64
   * MiB
   */
  readonly maxBacklogBytes?: number | undefined
}

export type ResolvedBrokerOptions = Resolved<MemoryBrokerOptions>
