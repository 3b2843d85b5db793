/**
 * THE CONTRACT: who belongs to a cluster, as every member sees it.
 *
 *     joined -> alive <-> suspect -> dead          alive | suspect -> left | replaced (dead at once)
 *
 * Each process is a member under an instance id and a *generation*, which rises strictly over the whole cluster: a process
 * that starts again under the same id gets a higher one, and the older is refused from then on. Silence makes a member
 * suspect, then dead, by the store's clock alone; each transition is one entry of one log, so every watcher sees each of
 * them once, in one order.
 *
 * What is not guaranteed: that a member shown as alive is alive now (it may have died a moment ago), or that one declared
 * dead has stopped (it may be paused, or cut off from the store only). Give `generation` or a lease's token to whatever
 * stores the effect.
 */
import type { EvictedReason } from '../store/cluster-errors.ts'
import type { SnapshotReason } from '../store/cluster-replica.ts'
import type { Generation } from '../store/cluster-store.ts'
import type { Watch } from '../store/watch-event-queue.ts'

/** This process in a cluster, and its view of all the others. */
export interface Membership extends AsyncDisposable {
  readonly cluster: string
  readonly instance: string

  /**
   * Becomes a member and stays one: beats, and joins again as a new generation when it was declared dead. Resolves when
   * the view shows it. A store that is away is tried again until it works, or `leave` or `close` come. When `signal` aborts
   * only the waiting ends: to give up joining, call `leave`. While a `leave` runs it waits for its end, then joins anew.
   * @throws the signal's reason, `cluster.closed`, `cluster.member_evicted` (`left`: `leave` came first)
   */
  join(options?: { readonly signal?: AbortSignal | undefined }): Promise<Presence>
  /** This process as a member at this moment, by the clocks; `undefined` when it is not, or is isolated. Synchronous. */
  self(): Presence | undefined
  /** This instance's knowledge of itself. Cheap, no I/O. */
  status(): MembershipStatus
  /** Told of this instance's own transitions, in order; what it throws is logged. Returns the way to stop. */
  subscribe(listener: (event: PresenceEvent) => void): () => void
  /**
   * Replaces the metadata; everybody hears `updated`. When it rejects because the store was away, it is tried again with
   * the next heartbeat. @throws `cluster.data_invalid`, `cluster.data_too_large`, `cluster.member_evicted`, `cluster.store_unavailable`
   */
  update(meta: MemberMeta): Promise<void>

  /** The members, alive or suspect, sorted by instance, as last heard. Empty until the view was read. Synchronous. */
  members(): readonly Member[]
  /** The same with its version. */
  view(): MembershipView
  /** Resolves when the view was read. Needs no `join`: who never joins is an observer. */
  ready(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>
  /** Tells the current view first, then each transition, once and in order. The listener is awaited; its errors are logged. */
  watch(listener: (event: MembershipEvent) => void | Promise<void>): Watch
  /** The same to iterate over. Ends with `break`, `signal` or `close`. */
  events(options?: { readonly signal?: AbortSignal | undefined }): AsyncIterableIterator<MembershipEvent>

  /** Ends the membership at once (`left`), and goes on watching. Idempotent, never rejects. */
  leave(): Promise<void>
  health(): MembershipHealth
  /** Leaves, and ends watches. The store stays open: it is the caller's. Idempotent, never rejects. */
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

/** A generation of this process, or its remains after an isolation: nothing of one holds in the next. */
export interface Presence extends Generation {
  /** Aborts when the membership is over or in doubt (isolated). Best effort after an event-loop stall. */
  readonly signal: AbortSignal
  /** Synchronous, by the clocks. @throws `cluster.member_evicted`, `cluster.member_isolated` */
  assertValid(): void
}

/**
 * What a watcher of the cluster hears. `view` is the one after the event. `resync` says that something between could not be
 * told, and why: compare the view with the one before.
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
      /** `silent`: not heard of in time. `replaced`: a later process joined with the same instance id. */
      readonly reason: 'silent' | 'replaced'
      readonly version: number
      readonly member: Member
      readonly view: MembershipView
    }

/** Events of this instance. `recovered`: confirmed again after an isolation, as the same generation. */
export type PresenceEvent =
  | { readonly type: 'joined' | 'isolated' | 'recovered'; readonly generation: number }
  | { readonly type: 'evicted'; readonly generation: number; readonly reason: EvictedReason }

/** `evicted`: permanently, because another process has the instance id (or `rejoin` is off). */
export type MembershipState = 'observing' | 'joining' | 'alive' | 'isolated' | 'evicted' | 'closed'

/** This instance's knowledge of its own membership. */
export interface MembershipStatus {
  readonly cluster: string
  readonly instance: string
  readonly state: MembershipState
  readonly generation: number | undefined
  /** Why joining or beating does not work at the moment. */
  readonly error: string | undefined
}

/**
 * `up` as a member; `down` while it joins, is isolated, or another process has its instance id. An observer has the health of
 * the store.
 */
export interface MembershipHealth {
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
