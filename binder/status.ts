import { BLOCKED_MS } from '../core/blocked-threshold.ts'
import { SECOND } from '../core/clock.ts'
import type { CircuitState } from './consuming/pace/circuit-breaker.ts'
import type { TransportHealth } from './transport/transport.ts'

/**
 * - `connecting`: wants to run, and the broker is unavailable or not yet reached; or part of it is blocked until a person acts, and the rest
 *   continues (a Kafka partition with an unreadable batch)
 * - `running`, `paused` (by `pause()`, or by its circuit breaker)
 * - `halted`: stopped by itself; `error` says why, `start()` tries again
 * - `stopping`, `stopped`, `idle` (never started)
 */
export type BindingState = 'idle' | 'connecting' | 'running' | 'paused' | 'halted' | 'stopping' | 'stopped'

const AS_TOLD: ReadonlySet<BindingState> = new Set(['running', 'paused', 'stopped'])

/** True for states that the user requested: in the others it is on its way, or has ended by itself. */
export function isAsTold(state: BindingState): boolean {
  return AS_TOLD.has(state)
}

/** Current state of a binding, with counters of this process. */
export interface BindingStatus {
  readonly name: string
  readonly kind: 'source' | 'sink' | 'processor' | 'batch' | 'poll'
  readonly channel: string
  readonly group: string | null
  /** Number of partitions that the channel declares. */
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
  /** How long the oldest of them, or the poll of a source, has been running. Absent while none is. */
  readonly runningForMs?: number | undefined
  /** That is longer than the binding's `slowAfterMs`. Absent otherwise. */
  readonly isSlow?: true | undefined
  /** Deliveries in this process that wait for their turn. */
  readonly queued: number
  /** Since the binder was made. */
  readonly handled: number
  readonly deadLettered: number
  readonly dropped: number
  /** Settled without handling: a `route` discarded it, or it is a reply that is no longer awaited. */
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

/** The binder's knowledge of its transport and its bindings, without I/O. */
export interface BinderHealth {
  /**
   * - `up`: the transport is up, and every binding that should run does
   * - `degraded`: the same, but a handler call or a poll has run for longer than the `slowAfterMs` of its binding, or the event loop was blocked
   *   for 10 s within the last minute; `detail` says which. A service stays ready
   * - `down`
   */
  readonly status: 'up' | 'degraded' | 'down'
  /** Why it is degraded. */
  readonly detail?: string | undefined
  /** How long the event loop of the process was blocked within the last minute, in pieces of at least 250 ms. */
  readonly blockedMs: number
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

/** Reason for slowness: a handler call that does not return, a blocked event loop. `undefined`: none. */
export function slownessOf(bindings: readonly BindingStatus[], blockedMs: number): string | undefined {
  const slow = bindings.filter(({ isSlow }) => isSlow === true)
  const said = slow.map(
    ({ name, kind, runningForMs = 0 }) =>
      `${name}: a ${kind === 'source' ? 'poll' : 'handler call'} has run for ${seconds(runningForMs)}`,
  )
  if (blockedMs >= BLOCKED_MS) said.push(`the event loop was blocked for ${seconds(blockedMs)} of the last minute`)
  return said.length === 0 ? undefined : said.join('; ')
}

function seconds(ms: number): string {
  return `${Math.round(ms / SECOND)} s`
}
