/** Long enough for a busy machine, short enough for a run of a minute and a half. */
export const SESSION_MS = 5_000
/** The longest a Kafka member may keep a rebalance waiting: what other clients call the poll interval. */
export const REBALANCE_MS = 6_000
/** A RabbitMQ connection that is silent for two to three of these is over, on either side. */
export const HEARTBEAT_S = 2
/** Freeze after which a server has lost every session and every connection. */
export const FREEZE_MS = 7_500
export const SLOW_MS = 8_000
/** A sender that has no answer by then does not know, and sends again under the same id. */
export const SEND_TIMEOUT_MS = 5_000
export const CONSUMERS = 3
export const KEYS = 12
export const PARTITIONS = 6
/** Keys of delayed messages. Their delays begin in the first two tiers of Kafka, and go through several queues of RabbitMQ. */
export const DELAYED_KEYS = 6
export const DELAYS_MS = { least: 100, most: 1_600 } as const
/** Delay of a retry, without jitter. */
export const RETRY_MS = 700
/** Share of delayed messages whose first attempt fails. */
export const RETRIED = 0.1
/** Deadlines are of the wall clock, the ledgers of the monotonic one, and each rounds. */
export const CLOCK_SLACK_MS = 5
/** A deliberate failure of a handler's first attempt. */
export const FAILS = 0.02
/** Time after the healed fault in which everything accepted is handled and every process works again. */
export const QUIET_WITHIN_MS = 60_000
export const HOPELESS_MS = 8_000
export const SHARED_WITHIN_MS = 15_000
/** PostgreSQL: of the ring of segments. */
export const SEGMENT_BYTES = 64 * 1024
export const SEGMENT_MS = 500
/** Longest time that a transaction stays open after its message was written: of two, either may commit first. */
export const LATE_COMMIT_MS = 40
