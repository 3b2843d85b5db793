/**
 * THE CONTRACT: a map that several processes share, with compare-and-set and a watch.
 *
 * Every write gets a version from one rising sequence of the state: max(last + 1, the store's time in microseconds). A
 * version is never given twice, also not to a key that was deleted and made again. Reads and writes go to the store and
 * are linearizable as long as the store does not lose what it confirmed (`docs/coordination/members-and-state.md` says when it can);
 * watches and mirrors follow, in order, a network hop behind.
 */

import type { SnapshotReason } from '../store/cluster-replica.ts'
import type { Generation } from '../store/cluster-store.ts'
import type { Watch } from '../store/watch-event-queue.ts'

export type { SnapshotReason } from '../store/cluster-replica.ts'
export type { Generation } from '../store/cluster-store.ts'
export type { Watch } from '../store/watch-event-queue.ts'

/**
 * A map that all instances share: writes compare and set, and a watch tells each version once and in order.
 *
 * @typeParam Out what is read
 * @typeParam In what is written; they differ when the schema transforms
 */
export interface SharedState<Out, In = Out> extends AsyncDisposable {
  readonly name: string

  /** The current entry in the store. Without a value, `value` is `undefined` and `version` that of the deletion, or 0. */
  get(key: string, options?: CallOptions): Promise<StateEntry<Out | undefined>>
  /** Every entry whose key begins with `prefix`, all at one version, sorted by key. */
  entries(prefix?: string, options?: CallOptions): Promise<StateView<Out>>

  /**
   * Writes one key, the whole entry: without `boundTo` it is bound to no member, whatever it was before. A lost answer is asked for again under the same request id, so a write is applied once or not at all
   * and the outcome is known, unless the store stays away for `retryForMs`.
   * @throws `cluster.state_conflict` (`ifVersion` does not fit: nothing was written), `cluster.member_evicted`, SchemaError,
   * `cluster.data_invalid`, `cluster.data_too_large`, `cluster.store_unavailable` (`outcome: 'unknown'`: read before you go on)
   */
  put(key: string, value: In, options?: PutOptions): Promise<StateVersion>
  /** Deletes one key; `changed` is false when there was nothing. @throws as `put` */
  delete(key: string, options?: WriteOptions): Promise<Committed>
  /**
   * Reads, calls `change` for the new value (`undefined` deletes, the same value as read changes nothing) and writes unless another write
   * came between; otherwise repeats, up to `maxAttempts` times. `change` may be called several times. Changes the value only: without
   * `boundTo`, an entry that is bound to a member stays bound to it.
   * @throws `cluster.state_conflict` after the last attempt, the errors of `change`, and as `put`
   */
  update(
    key: string,
    change: (value: Out | undefined) => In | undefined | Promise<In | undefined>,
    options?: UpdateOptions,
  ): Promise<StateVersion>
  /** Several keys at one version, all or none; each key once. @throws as `put` */
  transact(operations: readonly StateOperation<In>[], options?: CallOptions): Promise<Committed>

  /**
   * Tells `listener` everything that is committed, in order, each version once and whole. Begins with a snapshot, or after
   * version `after`; where the log does not reach back that far, or the store lost writes, a snapshot takes the place of
   * what is missing. The listener is awaited; what it throws is logged.
   */
  watch(listener: (event: StateEvent<Out>) => void | Promise<void>, options?: WatchOptions): Watch
  /** The same to iterate over: `for await (const event of state.events())`. Ends with `break`, `signal` or `close`. */
  events(options?: WatchOptions & CallOptions): AsyncIterableIterator<StateEvent<Out>>
  /** A copy in this process, kept by the same watch, for reading without waiting. @throws the signal's reason */
  mirror(options?: CallOptions): Promise<StateMirror<Out>>

  /** Cheap, no I/O. */
  health(): StateHealth
  /** Ends watches and mirrors. The store stays open: it is the caller's. Idempotent, never rejects. */
  close(): Promise<void>
}

/** Options of every call to the store. */
export interface CallOptions {
  /** Ends the waiting with its reason. What was sent may still be done. */
  readonly signal?: AbortSignal | undefined
}

/** Options of a write. */
export interface WriteOptions extends CallOptions {
  /** Only if the key has this version; 0: only if it has no value. */
  readonly ifVersion?: number | undefined
}

/** Options of `put`. */
export interface PutOptions extends WriteOptions {
  /**
   * Deleted when this membership ends, whatever ends it: pass the presence from `await membership.join()`, or `membership.self()`. Rejected
   * when it is `undefined`, as `self()` is before the process has joined and while it is isolated. Needs a state with a `cluster`.
   * `null`: bound to no member. @default null
   */
  readonly boundTo?: Generation | null
}

/** Options of `update`. */
export interface UpdateOptions extends CallOptions {
  /** @default 100 */
  readonly maxAttempts?: number | undefined
  /** Same as in `PutOptions`; `null` unbinds the entry. @default the member that the entry is bound to */
  readonly boundTo?: Generation | null
}

/** Scope and start of a watch. */
export interface WatchOptions {
  /** Only keys that begin with this. @default all */
  readonly prefix?: string | undefined
  /** Only what came after this version, and no snapshot if the log reaches back that far. @default a snapshot of now */
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
  /** From a watch or a mirror it is frozen: all readers share it. */
  readonly value: Value
  readonly version: number
  readonly boundTo?: Generation | undefined
  /** Watches and mirrors only: what is stored does not fit the schema, and `value` is `undefined` for that. */
  readonly error?: Error | undefined
}

/** Several entries as they stood at one version. */
export interface StateView<Value> {
  readonly version: number
  readonly entries: readonly StateEntry<Value>[]
}

/** Which version a write of a key became. */
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

/** A copy of the state in this process, behind by as long as the watch takes. */
export interface StateMirror<Value> {
  /** The last version that has been applied. */
  readonly version: number
  get(key: string): StateEntry<Value | undefined> | undefined
  /** Sorted by key. */
  entries(prefix?: string): readonly StateEntry<Value | undefined>[]
}

/** The health of the store below, or `closed`. */
export interface StateHealth {
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
}
