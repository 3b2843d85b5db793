/**
 * Contract: the members of a cluster, as every member sees them.
 *
 *     joined -> alive <-> suspect -> dead          alive | suspect -> left | replaced (dead at once)
 *
 * Each process is a member under an instance id and a *generation*, which rises strictly over the whole cluster: a process that
 * starts again under the same id gets a higher one, and the older is refused from then on. A member without heartbeats becomes
 * suspect, then dead, by the store's clock alone; each transition is one entry of one log, so every watcher sees each of them
 * once, in one order.
 *
 * Not guaranteed: that a member shown as alive is alive now (it may have died a moment ago), or that one declared dead has
 * stopped (it may be paused, or only disconnected from the store). Pass `generation` or a lease's token to the system that stores
 * the effect.
 */
import type { EvictedReason } from '../store/cluster-errors.ts'
import type { SnapshotReason } from '../store/cluster-replica.ts'
import type { Generation } from '../store/cluster-store.ts'
import type { Watch } from '../store/watch-event-queue.ts'

/** This process in a cluster, and its view of the other members. */
export interface Membership extends AsyncDisposable {
  readonly cluster: string
  readonly instance: string

  /**
   * Joins the cluster and stays a member: sends heartbeats, and joins again as a new generation after it was declared dead.
   * Resolves when the view shows it. An unavailable store is retried until it works, or `leave` or `close` is called. When
   * `signal` aborts only the wait ends: call `leave` to stop joining. During a `leave` it waits for its end, then joins again.
   * @throws the reason of the signal, `cluster.closed`, `cluster.member_evicted` (`left`: `leave` came first)
   */
  join(options?: { readonly signal?: AbortSignal | undefined }): Promise<Presence>
  /** Returns this process as a member at this moment, by the clocks; `undefined` when it is not, or is isolated. Synchronous. */
  self(): Presence | undefined
  /** Returns the state of this instance. Cheap, no I/O. */
  status(): MembershipStatus
  /** Calls `listener` for this instance's own transitions, in order; its errors are logged. Returns a function that stops it. */
  subscribe(listener: (event: PresenceEvent) => void): () => void
  /**
   * Replaces the metadata; watchers see `updated`. If it rejects because the store was unavailable, it is tried again with the
   * next heartbeat. @throws `cluster.data_invalid`, `cluster.data_too_large`, `cluster.member_evicted`,
   * `cluster.store_unavailable`
   */
  update(meta: MemberMeta): Promise<void>

  /** Returns the members, alive or suspect, sorted by instance, as last read. Empty until the view was read. Synchronous. */
  members(): readonly Member[]
  /** Returns the members with the version of the view. */
  view(): MembershipView
  /** Resolves when the view was read. Needs no `join`: a process that never joins is an observer. */
  ready(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>
  /** Passes the current view, then each transition, once and in order. The listener is awaited; its errors are logged. */
  watch(listener: (event: MembershipEvent) => void | Promise<void>): Watch
  /** Returns the same events for iteration. Ends with `break`, `signal` or `close`. */
  events(options?: { readonly signal?: AbortSignal | undefined }): AsyncIterableIterator<MembershipEvent>

  /** Ends the membership at once (`left`), and continues to watch. Idempotent, never rejects. */
  leave(): Promise<void>
  health(): MembershipHealth
  /** Leaves, and ends watches. The caller closes the store. Idempotent, never rejects. */
  close(): Promise<void>
}

/** JSON data of a member: addresses, version, capacity. */
export type MemberMeta = Readonly<Record<string, unknown>>

export interface Member extends Generation {
  readonly service: string
  readonly group?: string | undefined
  readonly meta: MemberMeta
  readonly status: 'alive' | 'suspect'
  /** Epoch ms of the store's clock. */
  readonly joinedAt: number
}

/** The members at one version. */
export interface MembershipView {
  /** Rises with every transition. */
  readonly version: number
  readonly members: readonly Member[]
}

/** A generation of this process, or its continuation after an isolation. Nothing of one generation applies to the next. */
export interface Presence extends Generation {
  /** Aborts when the membership has ended or is in doubt (isolated). Best effort after a blocked event loop. */
  readonly signal: AbortSignal
  /** Synchronous check by the clocks. @throws `cluster.member_evicted`, `cluster.member_isolated` */
  assertValid(): void
}

/**
 * Event of a watcher. `view` is the view after the event. `resync` means that events in between are missing, with the reason:
 * compare the view with the previous one.
 */
export type MembershipEvent =
  | { readonly type: 'view'; readonly version: number; readonly view: MembershipView }
  | {
      readonly type: 'resync'
      readonly reason: Exclude<SnapshotReason, 'first'>
      readonly version: number
      readonly view: MembershipView
    }
  | {
      readonly type: 'joined' | 'updated' | 'suspect' | 'recovered' | 'left'
      readonly version: number
      readonly member: Member
      readonly view: MembershipView
    }
  | {
      readonly type: 'dead'
      /** `silent`: no heartbeat in time. `replaced`: a later process joined with the same instance id. */
      readonly reason: 'silent' | 'replaced'
      readonly version: number
      readonly member: Member
      readonly view: MembershipView
    }

/** Events of this instance. `recovered`: confirmed again after an isolation, as the same generation. */
export type PresenceEvent =
  | { readonly type: 'joined' | 'isolated' | 'recovered'; readonly generation: number }
  | { readonly type: 'evicted'; readonly generation: number; readonly reason: EvictedReason }

/** State of a membership. `evicted`: permanently, because another process has the instance id (or `rejoin` is off). */
export type MembershipState = 'observing' | 'joining' | 'alive' | 'isolated' | 'evicted' | 'closed'

/** Current state of this instance's membership. */
export interface MembershipStatus {
  readonly cluster: string
  readonly instance: string
  readonly state: MembershipState
  readonly generation: number | undefined
  /** Reason why joining or heartbeats do not work at the moment. */
  readonly error: string | undefined
}

/**
 * `up` as a member; `down` while it joins, is isolated, or another process has its instance id. For an observer, the health of
 * the store.
 */
export interface MembershipHealth {
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
