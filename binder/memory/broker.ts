import type { Resolved } from '../../core/resolved-options.ts'

/**
 * A broker in the process: partitioned logs with durable groups, shared by the transports that are given it. It lives as
 * long as the object does. `interrupt` and `recover` play a broker that goes away and comes back with its data.
 */
export interface MemoryBroker {
  /** Cuts every connection; until `recover`, publishing and subscribing fail as if no broker answered. */
  interrupt(): void
  recover(): void
}

/** Options of `memoryBroker`: how much it holds. */
export interface MemoryBrokerOptions {
  /**
   * Messages a partition keeps that no group has still to get, so that a new group can start at the earliest.
   * @default 1 000
   */
  readonly retainMessages?: number | undefined
  /**
   * Messages of one partition that the slowest of its groups has not settled. At this limit a publisher waits, for the `sendTimeoutMs` of its
   * binder. Then its message is accepted anyway if readers are at work, up to twice the limit, since they may be waiting for it; otherwise it
   * fails with a TransportError of kind `refused`. The same number per partition may wait to be due; further ones are refused at once.
   * @default 100 000
   */
  readonly maxBacklog?: number | undefined
  /** The same in bytes: bodies, keys, headers and about 200 for each message. Retained messages go first. @default 64 MiB */
  readonly maxBacklogBytes?: number | undefined
}

export type ResolvedBrokerOptions = Resolved<MemoryBrokerOptions>
