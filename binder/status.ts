import type { CircuitState } from './consuming/pace/circuit-breaker.ts'
import type { TransportHealth } from './transport/transport.ts'

/**
 * - `connecting`: wants to run, the broker is away or not yet reached; or part of it stands still until somebody does
 *   something, and the rest goes on (a Kafka partition with a batch that cannot be read)
 * - `running`, `paused` (by `pause()`, or by its circuit breaker)
 * - `halted`: stopped by itself; `error` says why, `start()` tries again
 * - `stopping`, `stopped`, `idle` (never started)
 */
export type BindingState = 'idle' | 'connecting' | 'running' | 'paused' | 'halted' | 'stopping' | 'stopped'

const AS_TOLD: ReadonlySet<BindingState> = new Set(['running', 'paused', 'stopped'])

/** It does what it was told to: the others are on their way, or have ended by themselves. */
export function isAsTold(state: BindingState): boolean {
  return AS_TOLD.has(state)
}

/** One binding at this moment, with counters of this process. */
export interface BindingStatus {
  readonly name: string
  readonly kind: 'source' | 'sink' | 'processor' | 'batch' | 'poll'
  readonly channel: string
  readonly group: string | null
  /** Of the channel, as it is declared here. */
  readonly partitions: number
  readonly state: BindingState
  /**
   * Why it is not running; of one that is, what stands still and goes on by itself (a Kafka partition behind an open
   * transaction of another producer).
   */
  readonly error?: string | undefined
  /**
   * Of its circuit breaker, if it has one: not `closed`, the binding is `paused`, and `error` says why. Healthy all the
   * same, since what is broken is not here; watch this field.
   */
  readonly circuit?: CircuitState | undefined
  /**
   * How often it has taken its place at the broker, a source how often it was started: more than once after a lost
   * connection. What was sent in between an anonymous binding has missed.
   */
  readonly subscribed: number
  /** Handler calls under way. */
  readonly running: number
  /** Deliveries in this process that wait for their turn. */
  readonly queued: number
  /** Since the binder was made. */
  readonly handled: number
  readonly deadLettered: number
  readonly dropped: number
  /** Settled unhandled because a `route` says so, or a reply that nobody waits for any more. */
  readonly discarded: number
  /** Failed and sent away to come back later (`retry: 'delayed'`). */
  readonly retried: number
  /**
   * Messages that the group will never get, since the broker had deleted them before it read them, or since it begins at the end
   * (`startAt: 'latest'`). Absent while there are none.
   */
  readonly skipped?: number | undefined
  /** Messages that the group gets and may have handled before, since the broker had no position of it. Absent while there are none. */
  readonly repeated?: number | undefined
}

/** What the binder knows of its transport and its bindings, without I/O. */
export interface BinderHealth {
  /** `up`: transport up and every binding that should run does. */
  readonly status: 'up' | 'down'
  readonly transport: TransportHealth
  readonly bindings: readonly BindingStatus[]
}

/** Steers one binding. */
export interface BindingControl {
  status(): BindingStatus
  /** Keeps its place in the group and gets nothing more. A source stops polling. */
  pause(): void
  resume(): void
  /** Drains and leaves the group. */
  stop(): Promise<void>
  /** Again after `stop` or a halt. */
  start(): Promise<void>
}
