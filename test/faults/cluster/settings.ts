/** Long enough for a busy machine, short enough for a run of some minutes. */
export const SESSION_MS = 5_000
export const HEARTBEAT_S = 2
export const PARTITIONS = 6
/** Added at a time. */
export const MORE_PARTITIONS = 3
/** Processes of the line of messages that send, and that handle. */
export const SENDERS = 2
export const CONSUMERS = 2
export const CONTENDERS = 3
/** Keys of each sender. */
export const KEYS = 5
/** Between two messages of a key. */
export const PAUSE_MS = { least: 40, most: 160 } as const
/** A statement, or the wait for a connection, that takes longer is given up. */
export const SQL_MS = 4_000
export const TTL_MS = 1_500
/** Time for which a leader continues to write after its term. */
export const LATE_MS = 2_000
/** Time after the healed fault in which a sender has sent everything it began. */
export const QUIET_WITHIN_MS = 90_000
/** Limits for the time until everything accepted is handled. */
export const QUIET = { stillMs: QUIET_WITHIN_MS, mostMs: 600_000 } as const
/** Interval at which progress of a line is checked. */
export const PULSE_MS = 50
/** Time of a freeze after which its peers have given a node up: they need 2 to 4 s in each of the clusters. */
export const FREEZE_MS = 9_000
export const CUT_MS = 6_000
/** Time in which a line must move, before a fault and after it. */
export const MOVES_WITHIN_MS = 60_000
/** Time, plus up to 4 s, for which clients are without permissions, or a node without space. */
export const TAKEN_MS = 5_000
/** Usual time of a fault with the quiet before and after it. */
export const EPISODE_MS = { redis: 14_000, rabbitmq: 40_000, kafka: 50_000 } as const
/** Time in which the clusters start. */
export const START_MS = 40_000
