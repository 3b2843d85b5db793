import { BLOCKED_MS } from '../core/blocked-threshold.ts'
import { SECOND } from '../core/clock.ts'
import type { CircuitState } from './consuming/pace/circuit-breaker.ts'
import type { TransportHealth } from './transport/transport.ts'

/**
 * State of a binding:
 * - `connecting`: it is starting, and the broker is unavailable or not yet reached; or part of it is blocked until an operator
 *   acts, while the rest continues (a Kafka partition with an unreadable batch)
 * - `running`, `paused` (by `pause()`, or by its circuit breaker)
 * - `halted`: it stopped because of `error`; `start()` tries again
 * - `stopping`, `stopped`, `idle` (never started)
 */
export type BindingState = 'idle' | 'connecting' | 'running' | 'paused' | 'halted' | 'stopping' | 'stopped'

const AS_TOLD: ReadonlySet<BindingState> = new Set(['running', 'paused', 'stopped'])

/** True for states that the user requested. In other states the binding is starting, or has stopped on its own. */
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
   * Reason why it is not running; for a running one, the part that is blocked and will continue on its own (a Kafka partition
   * behind an open transaction of another producer).
   */
  readonly error?: string | undefined
  /**
   * State of its circuit breaker, if it has one. If it is not `closed`, the binding is `paused`, with the reason in `error`. The
   * binding still counts as healthy, because the problem is elsewhere; monitor this field.
   */
  readonly circuit?: CircuitState | undefined
  /**
   * How many times it has joined its group at the broker, or a source has started: more than once after a lost connection. An
   * anonymous binding has missed messages sent in between.
   */
  readonly subscribed: number
  /** Number of running handler calls. */
  readonly running: number
  /** How long the oldest of them, or the poll of a source, has been running. Absent if none is running. */
  readonly runningForMs?: number | undefined
  /** True if that is longer than the binding's `slowAfterMs`. Absent otherwise. */
  readonly isSlow?: true | undefined
  /** Deliveries in this process that wait for their turn. */
  readonly queued: number
  /** Number of handled messages since the binder was created. */
  readonly handled: number
  readonly deadLettered: number
  readonly dropped: number
  /** Settled without handling: a `route` discarded it, or it is a reply that is no longer awaited. */
  readonly discarded: number
  /** Failed, and scheduled to return later (`retry: 'delayed'`). */
  readonly retried: number
  /**
   * Messages that the group will never receive, because the broker deleted them before they were read, or the group began at the
   * end (`startAt: 'latest'`). Absent if there are none.
   */
  readonly skipped?: number | undefined
  /**
   * Redelivered messages that the group may have handled before, because the broker had lost its position. Absent if there are
   * none.
   */
  readonly repeated?: number | undefined
}

/** State of a binder's transport and bindings as known in memory, without I/O. */
export interface BinderHealth {
  /**
   * `up`: the transport is up, and every binding that should run does. `degraded`: as `up`, but a handler call or a poll has run
   * for longer than the `slowAfterMs` of its binding, or the event loop was blocked for 10 s within the last minute; `detail`
   * says which. A service stays ready. `down`: otherwise.
   */
  readonly status: 'up' | 'degraded' | 'down'
  /** Reason why it is degraded. */
  readonly detail?: string | undefined
  /** How long the event loop of the process was blocked within the last minute, counting blocks of at least 250 ms. */
  readonly blockedMs: number
  readonly transport: TransportHealth
  readonly bindings: readonly BindingStatus[]
}

/** Controls one binding. */
export interface BindingControl {
  status(): BindingStatus
  /** Stops deliveries, but keeps the place in the group. A source stops polling. */
  pause(): void
  resume(): void
  /** Drains and leaves the group. */
  stop(): Promise<void>
  /** Starts it again after `stop` or a halt. */
  start(): Promise<void>
}

/** Describes slowness: a handler call that does not return, or a blocked event loop. `undefined`: none. */
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
