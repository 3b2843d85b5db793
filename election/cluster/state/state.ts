/**
 * Contract: a map shared by several processes, with compare-and-set and watches.
 *
 * Every write gets a version from one rising sequence of the state: max(last + 1, the store's time in microseconds). A version is
 * never given twice, not even to a key that was deleted and created again. Reads and writes go to the store and are linearizable
 * as long as the store does not lose confirmed data (`docs/coordination/members-and-state.md` says when it can); watches and
 * mirrors follow, in order, with the delay of the network.
 */

import type { SnapshotReason } from '../store/cluster-replica.ts'
import type { Generation } from '../store/cluster-store.ts'
import type { Watch } from '../store/watch-event-queue.ts'

export type { SnapshotReason } from '../store/cluster-replica.ts'
export type { Generation } from '../store/cluster-store.ts'
export type { Watch } from '../store/watch-event-queue.ts'

/**
 * A map shared by all instances: writes compare and set, and a watch reports each version once and in order.
 *
 * @typeParam Out type of read values
 * @typeParam In type of written values; they differ when the schema transforms
 */
export interface SharedState<Out, In = Out> extends AsyncDisposable {
  readonly name: string

  /** Returns the current entry in the store. Without a value, `value` is `undefined` and `version` that of the deletion, or 0. */
  get(key: string, options?: CallOptions): Promise<StateEntry<Out | undefined>>
  /** Returns every entry whose key begins with `prefix`, all at one version, sorted by key. */
  entries(prefix?: string, options?: CallOptions): Promise<StateView<Out>>

  /**
   * Writes one key and replaces the whole entry: without `boundTo` it is bound to no member, whatever it was before. After a lost
   * answer the write is repeated with the same request id, so it is applied once or not at all and the outcome is known, unless
   * the store stays unavailable for `retryForMs`.
   * @throws `cluster.state_conflict` (`ifVersion` does not fit: nothing was written), `cluster.member_evicted`, SchemaError,
   * `cluster.data_invalid`, `cluster.data_too_large`, `cluster.store_unavailable` (`outcome: 'unknown'`: read before you
   * continue)
   */
  put(key: string, value: In, options?: PutOptions): Promise<StateVersion>
  /** Deletes one key; `changed` is false when it had no value. @throws the errors of `put` */
  delete(key: string, options?: WriteOptions): Promise<Committed>
  /**
   * Reads, calls `change` for the new value (`undefined` deletes, the same value as read changes nothing) and writes unless
   * another write came between; otherwise repeats, up to `maxAttempts` times. `change` may be called several times. Only the
   * value changes: without `boundTo`, an entry that is bound to a member stays bound to it.
   * @throws `cluster.state_conflict` after the last attempt, the errors of `change` and of `put`
   */
  update(
    key: string,
    change: (value: Out | undefined) => In | undefined | Promise<In | undefined>,
    options?: UpdateOptions,
  ): Promise<StateVersion>
  /** Writes several keys at one version, all or none; each key once. @throws the errors of `put` */
  transact(operations: readonly StateOperation<In>[], options?: CallOptions): Promise<Committed>

  /**
   * Passes every commit to `listener`, in order, each version once and complete. Begins with a snapshot, or after version
   * `after`. If the log does not reach back that far, or the store lost writes, a snapshot replaces the missing events. The
   * listener is awaited; its errors are logged.
   */
  watch(listener: (event: StateEvent<Out>) => void | Promise<void>, options?: WatchOptions): Watch
  /**
   * Returns the same events for iteration: `for await (const event of state.events())`. Ends with `break`, `signal` or `close`.
   */
  events(options?: WatchOptions & CallOptions): AsyncIterableIterator<StateEvent<Out>>
  /** Returns a copy in this process, updated by the same watch, for reading without waiting. @throws the reason of the signal */
  mirror(options?: CallOptions): Promise<StateMirror<Out>>

  /** Returns the health. Cheap, no I/O. */
  health(): StateHealth
  /** Ends watches and mirrors. The caller closes the store. Idempotent, never rejects. */
  close(): Promise<void>
}

/** Options of every call to the store. */
export interface CallOptions {
  /** Ends the wait with the signal's reason. A sent request may still be executed. */
  readonly signal?: AbortSignal | undefined
}

/** Options of a write. */
export interface WriteOptions extends CallOptions {
  /** Writes only if the key has this version; 0: only if it has no value. */
  readonly ifVersion?: number | undefined
}

/** Options of `put`. */
export interface PutOptions extends WriteOptions {
  /**
   * Deletes the entry when this membership ends, for any reason: pass the presence from `await membership.join()`, or
   * `membership.self()`. Rejects `undefined`, which `self()` returns before the process has joined and while it is isolated.
   * Needs a state with a `cluster`. `null`: bound to no member. @default null
   */
  readonly boundTo?: Generation | null
}

/** Options of `update`. */
export interface UpdateOptions extends CallOptions {
  /** Maximum number of attempts. @default 100 */
  readonly maxAttempts?: number | undefined
  /** Same as in `PutOptions`; `null` unbinds the entry. @default the member that the entry is bound to */
  readonly boundTo?: Generation | null
}

/** Scope and start of a watch. */
export interface WatchOptions {
  /** Only keys with this prefix. @default all */
  readonly prefix?: string | undefined
  /** Only events after this version, without a snapshot if the log reaches back that far. @default a current snapshot */
  readonly after?: number | undefined
}

/** A part of `transact`: writes a key, deletes one, or only checks its version (0: it has no value). */
export type StateOperation<In> =
  | {
      readonly put: string
      readonly value: In
      readonly ifVersion?: number | undefined
      /** Same as in `PutOptions`. */
      readonly boundTo?: Generation | null
    }
  | { readonly delete: string; readonly ifVersion?: number | undefined }
  | { readonly check: string; readonly ifVersion: number }

/** A key with its value and the version of the state in which it was written. */
export interface StateEntry<Value> {
  readonly key: string
  /** The value. In a watch or a mirror it is frozen, because all readers share it. */
  readonly value: Value
  readonly version: number
  readonly boundTo?: Generation | undefined
  /** In watches and mirrors only: the stored value does not fit the schema, and `value` is `undefined`. */
  readonly error?: Error | undefined
}

/** Several entries at one version. */
export interface StateView<Value> {
  readonly version: number
  readonly entries: readonly StateEntry<Value>[]
}

/** Version of a write of a key. */
export interface StateVersion {
  readonly key: string
  readonly version: number
}

/** Result of a write: the version of the state after it, and whether anything changed. */
export interface Committed {
  readonly version: number
  readonly changed: boolean
}

/** Event of a watch. `value: undefined` in a change is a deletion (or has an `error`). */
export type StateEvent<Value> =
  | {
      readonly type: 'snapshot'
      readonly reason: SnapshotReason
      readonly version: number
      readonly entries: readonly StateEntry<Value | undefined>[]
    }
  | { readonly type: 'change'; readonly version: number; readonly changes: readonly StateEntry<Value | undefined>[] }

/** A copy of the state in this process, delayed like its watch. */
export interface StateMirror<Value> {
  /** The last applied version. */
  readonly version: number
  get(key: string): StateEntry<Value | undefined> | undefined
  /** Sorted by key. */
  entries(prefix?: string): readonly StateEntry<Value | undefined>[]
}

/** The health of the store, or `closed`. */
export interface StateHealth {
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
