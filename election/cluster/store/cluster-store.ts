/**
 * Contract of a cluster store, implemented by adapters; `createMembership` and `createSharedState` are built on it.
 *
 * Each call is one atomic step in the store and settles within a limit that the store chooses (about a second): a rejection is a
 * `cluster.store_unavailable` (`outcome` says whether the step may have happened) or a `cluster.store_refused`. Every change is
 * written in the same step as its log entry, so the log contains every change, in order, and nothing else.
 *
 * Revisions of one log: max(last + 1, the store's time in microseconds). They rise strictly, and a store that lost data and
 * continued does not give the same revision to something else.
 */
export interface ClusterStore {
  /** For errors and health: `redis`, `memory`. */
  readonly name: string

  /** Returns these keys of a state, or all, at one revision. Deleted keys have the revision of the deletion. */
  read(state: StateId, keys?: readonly string[]): Promise<StateReading>
  /** Executes all operations at one revision, or none. The same `requestId` is applied once, however often it is sent. */
  commit(request: CommitRequest): Promise<CommitReply>

  members(cluster: string): Promise<MembersReading>
  /** Begins a new generation, above all previous ones in the cluster. A current generation of `instance` ends (`replaced`). */
  join(request: JoinRequest): Promise<JoinReply>
  /** Confirms a generation, by the store's clock, then sweeps. A suspect one has `recovered`. */
  beat(cluster: string, instance: string, generation: number, guardMs: number): Promise<BeatReply>
  /**
   * Declares members without timely heartbeats suspect, then dead; but a member whose time until suspicion is shorter than the
   * time since the last sweep could not be confirmed, and gets its full time again. `guardMs`: interval after which all members
   * are checked.
   */
  sweep(cluster: string, guardMs: number): Promise<void>
  /** Replaces the description; an older `sequence` than the last is ignored. */
  describe(request: DescribeRequest): Promise<'described' | 'evicted'>
  /** Ends the membership that began with `joinId` (`left`). `forget`: that join may still be under way; refuse it then. */
  leave(cluster: string, instance: string, joinId: string, forget: boolean): Promise<void>
  /** Writes members into a cluster that the store has lost; each gets its full time. No effect if the store knows the cluster. */
  restore(cluster: string, members: readonly MemberRecord[]): Promise<void>

  /** Returns log entries after `after`, oldest first: at most `limit`, and at most 1 MiB, but at least one, whatever its size. */
  changes(log: LogId, after: number, limit: number): Promise<ChangesReply>
  /** Passes entries after `after` to the follower, in order, until the returned function is called. Continues after outages. */
  follow(log: LogId, after: number, follower: LogFollower): () => void

  /**
   * For calls that wait until a copy has been read in the background. Absent if no caller can block the store.
   * @throws `core.sql_own_transaction` when the caller runs inside a transaction that the store's statements would wait for
   */
  refuseInside?: (() => void) | undefined

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined }
  /** Closes it. Idempotent, never rejects. Running calls reject. */
  close(): Promise<void>
}

/** Identifies a state: its name, and its cluster. */
export interface StateId {
  readonly cluster: string
  readonly state: string
}

/** A log: of a state, or of the members of the cluster. */
export interface LogId {
  readonly cluster: string
  readonly state: string | undefined
}

/** A membership of a process. */
export interface Generation {
  readonly instance: string
  readonly generation: number
}

/** A stored key. */
export interface StateRecord {
  readonly key: string
  readonly version: number
  /** The value as JSON; `undefined` for a key that was deleted. */
  readonly json: string | undefined
  readonly boundTo?: Generation | undefined
}

/** The entries of a state at one revision. */
export interface StateReading {
  readonly revision: number
  readonly records: readonly StateRecord[]
}

/** `ifVersion`: the version the key must have; 0 means that it must have no value. */
export type CommitOperation =
  | { readonly kind: 'check'; readonly key: string; readonly ifVersion: number }
  | { readonly kind: 'delete'; readonly key: string; readonly ifVersion: number | undefined }
  | {
      readonly kind: 'put'
      readonly key: string
      readonly ifVersion: number | undefined
      readonly json: string
      /** Deleted when this generation ends; refused if it has ended. */
      readonly boundTo?: Generation | undefined
    }

/** Several operations on one state, all or none. */
export interface CommitRequest {
  readonly id: StateId
  readonly operations: readonly CommitOperation[]
  readonly requestId: string
  /**
   * 1, 2, ... Above 1 the request may have been executed: it is looked up first, and earlier attempts are refused from then on.
   */
  readonly attempt: number
  /** A revision known before the first attempt: how far back to search. */
  readonly since: number
  /** Number of log entries to keep. */
  readonly keepChanges: number
  /** How long the revision of a deleted key is kept. */
  readonly keepDeletedMs: number
}

/** Outcome of a commit. */
export type CommitReply =
  /** `changed`: false when there was nothing to change (deletes of keys without a value). */
  | { readonly status: 'committed'; readonly revision: number; readonly changed: boolean }
  | { readonly status: 'conflict'; readonly record: StateRecord }
  | { readonly status: 'evicted'; readonly boundTo: Generation }
  /** The commit may have been executed, but the log does not reach back far enough to tell. */
  | { readonly status: 'unknown' }

export interface MemberRecord extends Generation {
  readonly status: 'alive' | 'suspect'
  /** Epoch ms of the store's clock. */
  readonly joinedAt: number
  readonly sequence: number
  readonly suspectAfterMs: number
  readonly deadAfterMs: number
  readonly joinId: string
  /** Service, group and metadata as JSON. */
  readonly json: string
}

/** The members at one revision. */
export interface MembersReading {
  /** Revision of the members; 0: the store does not know this cluster. */
  readonly revision: number
  readonly records: readonly MemberRecord[]
}

/** A process that joins. */
export interface JoinRequest {
  readonly cluster: string
  readonly instance: string
  /** Random: repeating a join returns the same generation. */
  readonly joinId: string
  readonly json: string
  readonly suspectAfterMs: number
  readonly deadAfterMs: number
}

/** `given_up`: this join was abandoned by `leave`. */
export type JoinReply = { readonly status: 'joined'; readonly generation: number } | { readonly status: 'given_up' }

/** Outcome of a heartbeat. */
export type BeatReply =
  | { readonly status: 'confirmed' }
  /** The generation has ended. `current`: the one that replaced it, if any. */
  | { readonly status: 'evicted'; readonly current: number | undefined }
  /** The store does not know the whole cluster. */
  | { readonly status: 'forgotten' }

export interface DescribeRequest extends Generation {
  readonly cluster: string
  readonly sequence: number
  readonly json: string
}

/** Transition of a member. */
export type MemberTransition = 'joined' | 'updated' | 'suspect' | 'recovered' | 'left' | 'dead' | 'replaced'

/** A change within a log entry: of a key, or of a member. */
export type LogChange =
  | { readonly kind: 'put'; readonly key: string; readonly json: string; readonly boundTo?: Generation | undefined }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: MemberTransition; readonly member: MemberRecord }

/** Everything that was committed as one revision. */
export interface LogEntry {
  readonly revision: number
  /** The previous revision, 0 for the first: a reader whose last one is different has missed entries. */
  readonly previous: number
  readonly changes: readonly LogChange[]
}

/** The log after a revision, or the reason why it is unavailable. */
export type ChangesReply =
  | { readonly status: 'ok'; readonly entries: readonly LogEntry[] }
  /** `compacted`: the log begins later. `rolled_back`: `after` is not in this history; the store lost writes. */
  | { readonly status: 'compacted' | 'rolled_back' }

/** A reader of a log: the store calls it for each log that it was registered for. */
export interface LogFollower {
  /** Receives entries, never twice and never out of order; only `previous` reveals a missing one. */
  onEntries(entries: readonly LogEntry[]): void
  /** The last revision of the log is below the last reported one, so the store was rolled back. */
  onRollback(): void
}
