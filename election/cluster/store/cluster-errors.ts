import { ConcordatError } from '../../../core/errors.ts'

/** The store cannot be reached, does not answer in time, or is not ready. */
export class ClusterStoreUnavailable extends ConcordatError {
  readonly code = 'cluster.store_unavailable' as const
  readonly retryable = true as const
  readonly store: string
  /** `unknown`: the step may have happened, or may yet happen. Read before you decide anything on it. */
  readonly outcome: 'not_done' | 'unknown'

  constructor(store: string, outcome: 'not_done' | 'unknown', detail: string, cause?: unknown) {
    const remedy =
      outcome === 'unknown'
        ? 'whether it was done is unknown: read the state before you go on'
        : 'nothing was done: try again'
    super(`cluster store ${store} is unavailable: ${detail}; ${remedy}`, cause === undefined ? undefined : { cause })
    this.store = store
    this.outcome = outcome
  }
}

/** The store answered and will answer the same again: wrong type under our key, missing permission, script error. */
export class ClusterStoreRefused extends ConcordatError {
  readonly code = 'cluster.store_refused' as const
  readonly retryable = false as const
  readonly store: string

  constructor(store: string, cause: Error) {
    super(
      `cluster store ${store} refused: ${cause.message}. Check the prefix, the permissions and the server version`,
      {
        cause,
      },
    )
    this.store = store
  }
}

/** Used after `close()`, or waiting when it came. */
export class ClusterClosed extends ConcordatError {
  readonly code = 'cluster.closed' as const
  readonly retryable = false as const

  constructor(what: string) {
    super(`${what}: expected it open, got it closed: use nothing of it after close(), or make another`)
  }
}

/**
 * Why a generation of a membership is over.
 * - `dead`: the others did not hear of it for `deadAfterMs`, or the store lost it.
 * - `replaced`: a later process joined with the same instance id.
 * - `left`: it left by itself.
 */
export type EvictedReason = 'dead' | 'replaced' | 'left'

const EVICTED: Readonly<Record<EvictedReason, string>> = {
  dead: 'it was not heard of in time. Stop its work; it may join again, as a new generation',
  replaced: 'another process joined with the same instance id. Stop its work; give each process an id of its own',
  left: 'it left. Join again before you use it',
}

/** This generation of a member is over and can do nothing more. */
export class MemberEvicted extends ConcordatError {
  readonly code = 'cluster.member_evicted' as const
  readonly retryable = false as const
  readonly instance: string
  readonly generation: number
  readonly reason: EvictedReason

  constructor(instance: string, generation: number, reason: EvictedReason) {
    super(`member "${instance}", generation ${generation}, is over: ${EVICTED[reason]}`)
    this.instance = instance
    this.generation = generation
    this.reason = reason
  }
}

/** No heartbeat was confirmed for so long that the others may suspect this member: act as if it were alone. */
export class MemberIsolated extends ConcordatError {
  readonly code = 'cluster.member_isolated' as const
  readonly retryable = true as const
  readonly instance: string
  readonly generation: number

  constructor(instance: string, generation: number, afterMs: number) {
    super(
      `member "${instance}", generation ${generation}, is isolated: no heartbeat was confirmed for ${afterMs} ms. Stop what only a member may do until it has reconnected`,
    )
    this.instance = instance
    this.generation = generation
  }
}

/** The key does not have the version that the write was for. Read it again, and decide again. */
export class StateConflict extends ConcordatError {
  readonly code = 'cluster.state_conflict' as const
  readonly retryable = true as const
  readonly state: string
  readonly key: string
  readonly expected: number
  /** The version it has now; 0 when there is none. */
  readonly version: number

  constructor(state: string, key: string, expected: number, version: number) {
    super(
      `"${key}" of state "${state}" has version ${version}, not ${expected}: read it again, or use update(), which does`,
    )
    this.state = state
    this.key = key
    this.expected = expected
    this.version = version
  }
}

/** A key, a value or metadata that cannot be kept as it is. */
export class ClusterDataInvalid extends ConcordatError {
  readonly code = 'cluster.data_invalid' as const
  readonly retryable = false as const
  readonly subject: string

  constructor(subject: string, problem: string) {
    super(`${subject}: ${problem}`)
    this.subject = subject
  }
}

/** Larger than the limit that was set; keep a reference instead. */
export class ClusterDataTooLarge extends ConcordatError {
  readonly code = 'cluster.data_too_large' as const
  readonly retryable = false as const
  readonly subject: string
  readonly bytes: number
  readonly maxBytes: number

  constructor(subject: string, bytes: number, maxBytes: number) {
    super(
      `${subject} has ${bytes} bytes, more than ${maxBytes}: keep it elsewhere and a reference here, or raise the limit`,
    )
    this.subject = subject
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}
