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
/** Of each sender. */
export const KEYS = 5
/** Between two messages of a key. */
export const PAUSE_MS = { least: 40, most: 160 } as const
/** A statement, or the wait for a connection, that takes longer is given up. */
export const SQL_MS = 4_000
export const TTL_MS = 1_500
/** A leader writes on for so long when its term has ended. */
export const LATE_MS = 2_000
/** After the fault is healed: until a sender has sent what it began. */
export const QUIET_WITHIN_MS = 90_000
/** And until everything accepted is handled. */
export const QUIET = { stillMs: QUIET_WITHIN_MS, mostMs: 600_000 } as const
/** How often it is looked whether a line has moved. */
export const PULSE_MS = 50
/** A node that stands still for so long was given up by its peers: 2 to 4 s in each of the clusters. */
export const FREEZE_MS = 9_000
export const CUT_MS = 6_000
/** Until a line moves, before a fault and after it. */
export const MOVES_WITHIN_MS = 60_000
/** For so long, and up to 4 s more, clients are without their rights, or a node without room. */
export const TAKEN_MS = 5_000
/** What a fault takes with its quiet before and after, most often. */
export const EPISODE_MS = { redis: 14_000, rabbitmq: 40_000, kafka: 50_000 } as const
/** Until the clusters have started. */
export const START_MS = 40_000
